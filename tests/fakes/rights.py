"""A user who owns nothing, also where the tests run as root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["rights_of_nobody"]

NOBODY = 65534


@contextmanager
def rights_of_nobody(folder: Path) -> Iterator[None]:
    """Within, this process may do what others may; `folder` can be reached. What is read must be imported before."""
    own = os.geteuid()
    closed = [place for place in (folder, *folder.parents) if place.stat().st_uid == own == 0]
    modes = {place: place.stat().st_mode for place in closed if not place.stat().st_mode & 0o005}
    for place, mode in modes.items():
        place.chmod(mode | 0o055)
    if own == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(own)
        for place, mode in modes.items():
            place.chmod(mode)
