"""~/.ssh/config as one text, with every Include in its place, which paramiko does not know."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from edgepareto.host.config.folder import home_folder

__all__ = ["ssh_folder", "ssh_settings_file", "ssh_settings_lines"]

DEEPEST_INCLUDE = 16  # as ssh allows


def ssh_settings_file() -> Path:
    return ssh_folder() / "config"


def ssh_folder() -> Path:
    """~/.ssh; /.ssh for a user without a home."""
    return (home_folder() or Path("/")) / ".ssh"


def ssh_settings_lines(file: Path, *, depth: int = 0) -> Iterator[str]:
    """Nothing where there is no such file. Raises OSError for one that cannot be read."""
    if not file.is_file() or depth > DEEPEST_INCLUDE:
        return
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() != "include":
            yield line
            continue
        for pattern in rest.split():
            place = ssh_folder() / os.path.expanduser(pattern.strip('"'))  # noqa: PTH111  # Path's raises for ~nobody
            for included in sorted(glob.glob(str(place))):  # noqa: PTH207  # Path.glob takes no absolute pattern
                yield from ssh_settings_lines(Path(included), depth=depth + 1)
