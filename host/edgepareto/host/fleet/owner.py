"""Who holds a board, in words for whoever else wants it."""

from __future__ import annotations

import getpass
import platform

__all__ = ["lease_owner"]


def lease_owner(purpose: str) -> str:
    """As in "ann@laptop /work/study". Runs of one purpose take each other's boards over: make it what may do so."""
    return f"{_user()}@{platform.node()} {purpose}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        return "unknown"
