"""Watches over the board's throttling: what it touched is void, the board cools down, and it is measured again.

All waiting is on the measurement clock. Bits are those of vcgencmd get_throttled (raspberrypi/documentation):
0 under-voltage, 1 frequency capped, 2 throttled, 3 soft temperature limit, now; 16 to 19 the same since boot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from edgepareto.agent.conditions import read_throttle_bits, throttle_temperature_c
from edgepareto.agent.conditions.thermal import read_temperature_c
from edgepareto.agent.errors import AgentError, Status
from edgepareto.agent.profiling.context import BatchContext
from edgepareto.agent.profiling.job import Job

__all__ = ["COOL_DOWN_S", "MAXIMUM_TRIES", "BatchVoid", "BoardWatch", "Disturbance", "throttling"]

MAXIMUM_TRIES = 3  # of one block or window
COOL_DOWN_S = 600.0  # of one batch at most, all its pauses together: nine time constants of a bare Raspberry Pi 4
COOL_DOWN_LOOK_S = 2.0  # as often as the kernel asks a Raspberry Pi's firmware (drivers/hwmon/raspberrypi-hwmon.c)
RESUME_BELOW_K = 2.0  # under the limit, or it would be reached again at once

_NOW = 0b1111
_SINCE_BOOT = 16
# In the order of their weight: under-voltage caps the clock as well.
_VERDICTS = (
    (0b0001, Status.UNDERVOLTAGE, "the board's supply sagged", "give it a stronger supply or a shorter cable"),
    (0b0110, Status.THROTTLED, "the board's clock was throttled", "cool it, or give it a stronger supply"),
    (0b1000, Status.TOO_HOT, "the board reached its soft temperature limit", "cool it"),
)

_Result = TypeVar("_Result")


class BatchVoid(AgentError):
    """The board's conditions were wrong, so no number of this batch counts; carries the verdict."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What slowed the board down, by the value seen, and what helps against it."""

    status: Status
    seen: str
    advice: str


def throttling(before: int | None, after: int | None) -> Disturbance | None:
    """Between two readings of the throttle bits: one that is set now, or one since boot that was not set before."""
    if after is None:
        return None
    fresh = after & ~before if before is not None else 0
    struck = (after | fresh >> _SINCE_BOOT) & _NOW
    for bits, status, what, advice in _VERDICTS:
        if struck & bits:
            return Disturbance(status=status, seen=f"{what} (throttle bits {after:#x})", advice=advice)
    return None


class BoardWatch:
    """One batch's. Raises BatchVoid where the board does not recover."""

    def __init__(self, context: BatchContext) -> None:
        self._context = context
        self._root = context.board.sys_root
        self._limit_c = throttle_temperature_c(self._root)
        self._cooled_s = 0.0

    def wait_until_fit(self) -> None:
        """Until the board neither throttles nor is as hot as that; at once where it is fit already or does not tell."""
        self._cool_down(self._obstacle())

    def undisturbed(self, jobs: Sequence[Job], measure: Callable[[], _Result | None], *, what: str) -> _Result | None:
        """What `measure` gives while the board runs at its own speed; None, its failure, is passed on.

        jobs: whose measurement it is; each try that is void is counted with them. what: for the message.
        """
        for tries in range(1, MAXIMUM_TRIES + 1):
            before = read_throttle_bits(self._root)
            result = measure()
            disturbance = None if result is None else self._disturbance_since(before)
            if disturbance is None:
                return result
            for job in jobs:
                job.voided += 1
            if tries < MAXIMUM_TRIES:
                self._cool_down(disturbance)
        assert disturbance is not None
        raise BatchVoid(
            disturbance.status,
            f"{disturbance.seen} in each of {MAXIMUM_TRIES} tries of {what}; {disturbance.advice}",
        )

    def _disturbance_since(self, before: int | None) -> Disturbance | None:
        """A board without throttle bits slows down where it is too hot, and says no more than that."""
        after = read_throttle_bits(self._root)
        return self._heat() if after is None else throttling(before, after)

    def _obstacle(self, margin_k: float = 0.0) -> Disturbance | None:
        bits = read_throttle_bits(self._root)
        return throttling(bits, bits) or self._heat(margin_k)

    def _heat(self, margin_k: float = 0.0) -> Disturbance | None:
        if self._limit_c is None:
            return None
        temperature_c = read_temperature_c(self._root)
        if temperature_c is None or temperature_c < self._limit_c - margin_k:
            return None
        return Disturbance(
            status=Status.TOO_HOT,
            seen=f"the board has {temperature_c:.1f} °C and slows down at {self._limit_c:.0f} °C",
            advice="cool it",
        )

    def _cool_down(self, obstacle: Disturbance | None) -> None:
        while obstacle is not None:
            if self._cooled_s >= COOL_DOWN_S:
                raise BatchVoid(
                    obstacle.status, f"{obstacle.seen}, after {COOL_DOWN_S:.0f} s without load; {obstacle.advice}"
                )
            self._context.tell("cool-down", self._context.anchor, round(self._cooled_s), round(COOL_DOWN_S))
            self._context.board.clock.sleep(COOL_DOWN_LOOK_S)
            self._cooled_s += COOL_DOWN_LOOK_S
            obstacle = self._obstacle(RESUME_BELOW_K)
