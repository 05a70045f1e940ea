"""May this batch be measured now, and were its numbers made on a quiet board?"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.conditions.linux import (
    Conditions,
    CpuTime,
    contention,
    read_conditions,
    read_cpu_time,
    read_process_ticks,
)
from edgepareto.agent.errors import Status
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.profiling.trace import LatencyBlock

__all__ = [
    "MAXIMUM_CONTENTION",
    "ContentionGauge",
    "Judgement",
    "fitting",
    "judge",
    "judge_change",
    "look_around",
    "too_large",
]

MAXIMUM_ANCHOR_DRIFT = 0.03  # between the anchor's first and last block medians
MAXIMUM_CONTENTION = 0.05  # share of the board's CPU time
WORKERS_SHARE_OF_MEMORY = 0.5  # of what was free before they started


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """status OK, or the verdict that voids the whole batch with its message; tags stay with usable numbers."""

    status: Status = Status.OK
    message: str = ""
    tags: frozenset[str] = frozenset()


class ContentionGauge:
    """CPU time that others used since it was made; ours is the agent's and the workers', dead ones included."""

    def __init__(self, sys_root: Path, pids: Sequence[int]) -> None:
        self._sys_root = sys_root
        self._pids = tuple(pids)
        self._cpu, self._own_ticks = self._read()

    def read(self) -> float | None:
        """0..1; None where the box does not tell."""
        cpu, own_ticks = self._read()
        return contention(self._cpu, cpu, own_ticks=own_ticks - self._own_ticks)

    def _read(self) -> tuple[CpuTime | None, int]:
        mine = os.times()  # with the children that have been reaped, such as a worker that crashed
        seconds = mine.user + mine.system + mine.children_user + mine.children_system
        own_ticks = round(seconds * os.sysconf("SC_CLK_TCK"))
        return read_cpu_time(self._sys_root), own_ticks + read_process_ticks(self._sys_root, self._pids)


def look_around(board: Board, *, seconds: float) -> Conditions:
    """The board's state while nothing of ours runs for that long."""
    gauge = ContentionGauge(board.sys_root, ())
    board.clock.sleep(seconds)
    return read_conditions(board.sys_root, contention=gauge.read())


def judge(conditions: Conditions, *, when: str, shared: bool) -> Judgement:
    """A board that works for others at the same time gives no numbers; a shared one gives them with a tag."""
    if conditions.contention is None or conditions.contention < MAXIMUM_CONTENTION:
        return Judgement()
    if shared:
        return Judgement(tags=frozenset({Status.CONTENDED.value}))
    return Judgement(
        status=Status.CONTENDED,
        message=f"other programs used {conditions.contention:.0%} of the board's CPU time {when}, allowed "
        f"{MAXIMUM_CONTENTION:.0%}; stop them, or set shared = true for this device",
    )


def judge_change(before: Conditions, after: Conditions, anchor: Sequence[LatencyBlock], *, shared: bool) -> Judgement:
    """Was the board at the end of the batch the one it was at its beginning? A shared one only gets a tag.

    anchor: its blocks in the order of time. A governor that the board does not tell is not judged.
    """
    change = _change(before, after, anchor)
    if change is None:
        return Judgement()
    if shared:
        return Judgement(tags=frozenset({Status.ANCHOR_DRIFT.value}))
    return Judgement(
        status=Status.ANCHOR_DRIFT,
        message=f"{change}; keep the board's clocks and temperature steady, or set shared = true for this device",
    )


def _change(before: Conditions, after: Conditions, anchor: Sequence[LatencyBlock]) -> str | None:
    if before.governor and after.governor and before.governor != after.governor:
        return f"the frequency governor changed from {before.governor} to {after.governor} during the batch"
    if len(anchor) < 2:
        return None
    first, last = (statistics.median(block.run_ns) for block in (anchor[0], anchor[-1]))
    drift = last / first - 1
    if abs(drift) <= MAXIMUM_ANCHOR_DRIFT:
        return None
    return f"the anchor's latency drifted by {drift:+.1%} during the batch, allowed {MAXIMUM_ANCHOR_DRIFT:.0%}"


def too_large(model_bytes: int, free_bytes: int | None) -> str | None:
    """Why a model cannot be loaded at all: its weights alone take more memory than is free. None where it may be tried.

    Trying costs a board its swap, or another program of its own that the kernel ends in the model's place.
    """
    if free_bytes is None or model_bytes <= free_bytes:
        return None
    return (
        f"the model's file holds {model_bytes / 1e6:,.0f} MB and the board has {free_bytes / 1e6:,.0f} MB of memory "
        "free; its weights alone take as much: free memory there, or choose a smaller model"
    )


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
