"""One host process per study: a lock that the kernel drops with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepareto.host.errors import StudyError

__all__ = ["study_lock"]

LOCK_NAME = "study.lock"


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Hold the study exclusively inside the block. Raises StudyError naming the process that holds it."""
    with (folder / LOCK_NAME).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise StudyError(
                f"{folder}: another host process (pid {file.read().strip() or 'unknown'}) works on this study; "
                "wait for it, end it, or choose another --study"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
