"""Where the SSH keys of boards are known from."""

from __future__ import annotations

from pathlib import Path

from edgepareto.host.config.folder import config_folder
from edgepareto.host.config.ssh_settings import ssh_folder

__all__ = ["known_hosts_files"]


def known_hosts_files() -> tuple[Path, Path]:
    """Ours, which is written; the user's, which is only read."""
    return (config_folder() / "known_hosts", ssh_folder() / "known_hosts")
