"""How many workers the board's memory holds at once, which models it cannot hold, and which worker takes too much."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgepareto.agent.conditions.linux import read_memory

__all__ = ["fitting", "taking_too_much", "too_large"]

WORKERS_SHARE_OF_MEMORY = 0.5  # of what was free before they started
KEPT_FREE = 0.05  # of the board's memory, within these bounds: below it the kernel swaps and drops the programs' pages
LEAST_KEPT_FREE_BYTES, MOST_KEPT_FREE_BYTES = 32 << 20, 128 << 20


def fitting(private_bytes: Sequence[int], free_bytes: int) -> int:
    """How many workers, in this order, may stay: their private memory within half of what was free before they started.

    At least two, the anchor and one candidate, where there are as many.
    """
    used = 0
    for count, size in enumerate(private_bytes):
        used += size
        if count >= 2 and used > WORKERS_SHARE_OF_MEMORY * free_bytes:
            return count
    return len(private_bytes)


def too_large(model_bytes: int, free_bytes: int | None) -> str | None:
    """Why a model cannot be loaded at all: its weights alone take more memory than is free. None where it may be tried.

    A lower bound, so no model is refused that might run. Trying costs a board its swap, or another program of its own
    that the kernel ends in the model's place.
    """
    if free_bytes is None or model_bytes <= free_bytes:
        return None
    return (
        f"the model's file holds {model_bytes / 1e6:,.0f} MB and the board has {free_bytes / 1e6:,.0f} MB of memory "
        "free; its weights alone take as much: free memory there, or choose a smaller model"
    )


def taking_too_much(pid: int, sys_root: Path) -> str | None:
    """Why a worker must end now, before the board swaps itself to death. None: it may go on, or nothing is told.

    Two reads of /proc of some ten microseconds, of which none takes a lock of the worker's (statm; proc_pid_statm(5)).
    """
    memory = read_memory(sys_root)
    if memory is None:
        return None
    keep_bytes = min(max(KEPT_FREE * memory.total_bytes, LEAST_KEPT_FREE_BYTES), MOST_KEPT_FREE_BYTES)
    resident_bytes = _resident_bytes(pid, sys_root)
    if memory.available_bytes >= keep_bytes or resident_bytes <= memory.available_bytes:
        return None  # enough is left, or most of it was taken by others
    return (
        f"the worker holds {resident_bytes / 1e6:,.0f} MB and the board has {memory.available_bytes / 1e6:,.0f} MB of "
        f"memory left, at least {keep_bytes / 1e6:,.0f} MB must stay free; free memory there, or choose a smaller model"
    )


def _resident_bytes(pid: int, sys_root: Path) -> int:
    try:
        return int((sys_root / f"proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # it has ended
        return 0
