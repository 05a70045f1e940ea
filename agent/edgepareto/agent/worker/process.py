"""What a worker does to and reads of its own process (Linux)."""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from edgepareto.agent.worker.protocol import MemoryUsed

__all__ = ["die_with_the_agent", "memory_used", "offer_to_the_oom_killer", "run_on"]

_PR_SET_PDEATHSIG = 1  # prctl(2)
_WORST_SCORE = "1000"  # proc(5), oom_score_adj: killed before anything else on the board


def die_with_the_agent() -> None:
    """The kernel kills this process when its parent dies. A parent that is dead already shows as end of stdin."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def offer_to_the_oom_killer() -> None:
    Path("/proc/self/oom_score_adj").write_text(_WORST_SCORE)


def run_on(cpus: Sequence[int]) -> None:
    """Before any library starts its threads, which inherit it."""
    os.sched_setaffinity(0, cpus)


def memory_used() -> MemoryUsed:
    """VmHWM and not ru_maxrss: that one keeps the peak of the process that exec'd us (getrusage(2), vfork)."""
    private = re.findall(r"^Private_\w+:\s+(\d+) kB", _proc("smaps_rollup"), re.MULTILINE)
    peak = re.search(r"^VmHWM:\s+(\d+) kB", _proc("status"), re.MULTILINE)
    return MemoryUsed(
        peak_rss_bytes=int(peak[1]) * 1024 if peak else None,
        private_bytes=sum(map(int, private)) * 1024 if private else None,
    )


def _proc(name: str) -> str:
    try:
        return Path("/proc/self", name).read_text()
    except OSError:
        return ""
