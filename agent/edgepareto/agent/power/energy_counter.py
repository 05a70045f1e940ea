"""Mean power from counters of energy that only grow, such as RAPL's and the INA228's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.kernel_file import read_integer

__all__ = ["EnergyCounter", "EnergyCounters"]

_STUCK_S = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyCounter:
    """range_uj: the highest value, after which it starts again from 0; None: not known, and hours away."""

    path: Path
    range_uj: int | None
    if_denied: str = "let the agent's user read it"


class EnergyCounters:
    """Counters that are added up, read together at least period_s apart. Raises MeterError."""

    def __init__(self, counters: Sequence[EnergyCounter], clock: Clock, *, period_s: float) -> None:
        self._counters = tuple(counters)
        self._clock = clock
        self._period_s = period_s
        self.restart()

    def restart(self) -> None:
        """What is used from now on is in the next sample."""
        self._last_ns, self._last_uj = self._look()

    def read(self) -> tuple[int, float]:
        """(now in ns, mean power in W since the last look). Raises MeterError(STUCK) where none moves for 0.9 s."""
        started_ns = self._clock.now_ns()
        self._clock.sleep(max(0.0, self._period_s - (started_ns - self._last_ns) / 1e9))
        now_ns, counters = self._look()
        while now_ns == self._last_ns or counters == self._last_uj:
            if now_ns - started_ns > _STUCK_S * 1e9:
                raise MeterError(
                    MeterStatus.STUCK, f"{self._counters[0].path} stands at {counters[0]} uJ for {_STUCK_S} s"
                )
            self._clock.sleep(self._period_s)
            now_ns, counters = self._look()
        used_uj = sum(
            _used(counter, now, last)
            for counter, now, last in zip(self._counters, counters, self._last_uj, strict=True)
        )
        power_w = used_uj * 1e3 / (now_ns - self._last_ns)
        self._last_ns, self._last_uj = now_ns, counters
        return now_ns, power_w

    def _look(self) -> tuple[int, list[int]]:
        counters = [read_integer(counter.path, if_denied=counter.if_denied) for counter in self._counters]
        return self._clock.now_ns(), counters


def _used(counter: EnergyCounter, now_uj: int, last_uj: int) -> int:
    if counter.range_uj is not None:
        # Modulo the range: it wrapped at most once since the last read, since one range is minutes at full load.
        return (now_uj - last_uj) % (counter.range_uj + 1)
    if now_uj < last_uj:
        raise MeterError(
            MeterStatus.RESET,
            f"{counter.path} went back from {last_uj} to {now_uj} uJ: the chip was reset or its counter overflowed",
        )
    return now_uj - last_uj
