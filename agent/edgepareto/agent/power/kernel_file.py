"""The kernel's one-value files under /sys, read as what they must be."""

from __future__ import annotations

import errno
from pathlib import Path

from edgepareto.agent.errors import MeterError, MeterStatus

__all__ = ["first_label", "read_integer", "read_text"]


def read_text(path: Path, *, if_denied: str = "let the agent's user read it") -> str:
    """Raises MeterError: ABSENT where it is missing or may not be read, IO where its device does not answer."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip().strip("\0").strip()
    except OSError as error:
        denied = isinstance(error, PermissionError)
        gone = denied or error.errno in (errno.ENOENT, errno.EISDIR)
        advice = if_denied if gone else "look at the chip's wiring and supply"
        raise MeterError(
            MeterStatus.ABSENT if gone else MeterStatus.IO,
            f"{path}: {error.strerror} (errno {error.errno}): {advice}",
        ) from error


def read_integer(path: Path, *, if_denied: str = "let the agent's user read it") -> int:
    """Raises MeterError as `read_text` does, and IO where it holds no whole number."""
    text = read_text(path, if_denied=if_denied)
    try:
        return int(text)
    except ValueError as error:
        raise MeterError(MeterStatus.IO, f"{path} holds {text[:40]!r}, wanted a whole number") from error


def first_label(folder: Path, *names: str) -> str | None:
    """The first of these files that is there and holds something."""
    for name in names:
        if (folder / name).is_file():
            text = read_text(folder / name)
            if text:
                return text
    return None
