"""The faults of a simulated board that are real: a worker that aborts, hangs, or runs out of memory."""

from __future__ import annotations

import os
import re
import resource
import time
from pathlib import Path

from edgepareto.agent.simulation.faults import Faults

__all__ = ["end_badly", "strikes"]

_CHUNK_BYTES = 16 << 20
_ROOM_BYTES = 256 << 20  # what a worker may allocate before it has no more: this machine must not notice


def strikes(last_characters: str | None, candidate: str) -> bool:
    """By the candidate's id alone, so the same in every batch, order and study."""
    return last_characters is not None and candidate[-1:] in last_characters


def end_badly(faults: Faults, candidate: str) -> None:
    """Whatever the board was told to do to this candidate. Raises MemoryError, as an allocation does."""
    if strikes(faults.crash, candidate):
        os.abort()
    while strikes(faults.hang, candidate):
        time.sleep(0.01)  # without end, and without taking this machine's core for it
    if strikes(faults.oom, candidate):
        _run_out_of_memory()


def _run_out_of_memory() -> None:
    mapped = re.search(r"^VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert mapped is not None, "proc(5): every process has one"
    before = resource.getrlimit(resource.RLIMIT_AS)
    room = int(mapped[1]) * 1024 + _ROOM_BYTES
    allowed = before[1] if before[1] != resource.RLIM_INFINITY else room
    resource.setrlimit(resource.RLIMIT_AS, (min(room, allowed), before[1]))
    hoard: list[bytearray] = []
    try:
        while True:
            hoard.append(bytearray(_CHUNK_BYTES))
    finally:
        hoard.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)  # to be able to say so
