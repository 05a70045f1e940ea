"""May this batch be measured now, and were its numbers made on a board that was quiet and stayed what it was?"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from edgepareto.agent.profiling.trace import AnchorBaseline, LatencyBlock, PowerWindow

__all__ = [
    "FAN_CHANGED",
    "MAXIMUM_CONTENTION",
    "ContentionGauge",
    "Judgement",
    "anchor_ratio",
    "judge",
    "judge_change",
    "judge_level",
    "look_around",
]

MAXIMUM_ANCHOR_DRIFT = 0.03  # between its first and last block or window, and between its median and its baseline
MAXIMUM_CONTENTION = 0.05  # share of the board's CPU time
FEWEST_TICKS = 40  # of all cores, to tell it from: two of them are that share
FAN_CHANGED = "FAN_CHANGED"  # of numbers that do not depend on it: no energy was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """status OK, or the verdict that voids the whole batch with its message; tags stay with usable numbers."""

    status: Status = Status.OK
    message: str = ""
    tags: frozenset[str] = frozenset()


class ContentionGauge:
    """CPU time that others used since it was made; ours is the agent's and the workers', dead ones included.

    On a simulated board ours is not in what it tells, for it is spent on this machine.
    ended_ticks: of those of ours that have ended and were not the agent's own children.
    """

    def __init__(self, board: Board, pids: Sequence[int], *, ended_ticks: Callable[[], int] = lambda: 0) -> None:
        self._board = board
        self._pids = tuple(pids)
        self._ended_ticks = ended_ticks
        self._cpu, self._own_ticks = self._read()

    def read(self) -> float | None:
        """0..1; None where the box does not tell, or too little time has passed."""
        cpu, own_ticks = self._read()
        if cpu is None or self._cpu is None or cpu.total - self._cpu.total < FEWEST_TICKS:
            return None
        return contention(self._cpu, cpu, own_ticks=own_ticks - self._own_ticks)

    def _read(self) -> tuple[CpuTime | None, int]:
        cpu = read_cpu_time(self._board.sys_root)
        if self._board.simulation is not None:
            return cpu, 0
        mine = os.times()  # with the children that have been reaped, such as a worker that crashed
        seconds = mine.user + mine.system + mine.children_user + mine.children_system
        own_ticks = round(seconds * os.sysconf("SC_CLK_TCK"))
        return cpu, own_ticks + self._ended_ticks() + read_process_ticks(self._board.sys_root, self._pids)


def look_around(board: Board, *, seconds: float) -> Conditions:
    """The board's state while nothing of ours runs for that long."""
    gauge = ContentionGauge(board, ())
    board.clock.sleep(seconds)
    return read_conditions(board.sys_root, contention=gauge.read())


def judge(conditions: Conditions, *, when: str, board: Board) -> Judgement:
    """A board that works for others at the same time gives no numbers; a shared one gives them with a tag."""
    if conditions.contention is None or conditions.contention < MAXIMUM_CONTENTION:
        return Judgement()
    message = (
        f"other programs used {conditions.contention:.0%} of the board's CPU time {when}, allowed "
        f"{MAXIMUM_CONTENTION:.0%}; {_advice('stop them', board)}"
    )
    return _void_or_tag(Status.CONTENDED, message, board)


def judge_change(
    before: Conditions,
    after: Conditions,
    anchor: Sequence[LatencyBlock],
    *,
    windows: Sequence[PowerWindow] = (),
    metered: bool,
    board: Board,
) -> Judgement:
    """Was the board at the end of the batch the one it was at its beginning? A shared one only gets a tag.

    anchor, windows: its blocks and its busy windows, in the order of time. metered: energy was measured, and what a fan
    draws would be in it; without that another fan level is only told. What the board does not tell is not judged.
    """
    fan = _change("fan level", before.fan_level, after.fan_level)
    change = (
        _change("frequency governor", before.governor, after.governor)
        or _change("power mode", before.power_mode, after.power_mode)
        or _drift("latency", [statistics.median(block.run_ns) for block in anchor])
        or _drift("latency in its energy windows", [(w.end_ns - w.start_ns) / w.inferences for w in windows])
        or (fan if metered else None)
    )
    if change is not None:
        message = f"{change}; {_advice('keep its clocks, fan and temperature steady', board)}"
        return _void_or_tag(Status.ANCHOR_DRIFT, message, board)
    return Judgement(tags=frozenset({FAN_CHANGED}) if fan else frozenset())


def anchor_ratio(
    blocks: Sequence[LatencyBlock], baseline: AnchorBaseline | None, *, boot_id: str | None, governor: str | None
) -> float | None:
    """The anchor's latency over its baseline. None: there is none of this boot under this governor, or no block."""
    if baseline is None or not blocks or (baseline.boot_id, baseline.governor) != (boot_id, governor):
        return None
    return statistics.median(statistics.median(block.run_ns) for block in blocks) / baseline.latency_ns


def judge_level(ratio: float | None, *, board: Board) -> Judgement:
    """ratio: of the anchor; None is not judged."""
    if ratio is None or abs(ratio - 1) <= MAXIMUM_ANCHOR_DRIFT:
        return Judgement()
    message = (
        f"the anchor's latency is {ratio - 1:+.1%} off its baseline on this boot, allowed {MAXIMUM_ANCHOR_DRIFT:.0%}; "
        f"{_advice('let it rest and look at what else runs on it', board)}"
    )
    return _void_or_tag(Status.ANCHOR_DRIFT, message, board)


def _advice(against_it: str, board: Board) -> str:
    """A simulated board is disturbed by the faults it was given, and cannot be shared."""
    if board.simulation is not None:
        return "the board is simulated: take what disturbs it out of its faults"
    return (
        f"{against_it}, or set shared = true in /etc/edgepareto/agent.toml (host deploy NAME --shared), for local "
        "under [devices.NAME]"
    )


def _void_or_tag(status: Status, message: str, board: Board) -> Judgement:
    return Judgement(tags=frozenset({status.value})) if board.shared else Judgement(status=status, message=message)


def _change(what: str, before: str | int | None, after: str | int | None) -> str | None:
    if before is None or after is None or before == after:
        return None
    return f"the {what} changed from {before} to {after} during the batch"


def _drift(what: str, levels: Sequence[float]) -> str | None:
    if len(levels) < 2:
        return None
    drift = levels[-1] / levels[0] - 1
    if abs(drift) <= MAXIMUM_ANCHOR_DRIFT:
        return None
    return f"the anchor's {what} drifted by {drift:+.1%} during the batch, allowed {MAXIMUM_ANCHOR_DRIFT:.0%}"
