"""What a second look at measured candidates says: the number shown before, the new one alone, and both pooled."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.device_front import DeviceFront
from edgepareto.host.domain.interval import Interval
from edgepareto.host.domain.measurement import EnergyObjective, Measurement

__all__ = ["Remeasured", "RemeasuredDevice", "held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remeasured:
    """One candidate. again: its new job alone, with the device's between-job variance; None: it failed, and message
    says why. energy_objective: which energy the study minimised, and is compared here."""

    candidate: CandidateId
    before: Measurement
    again: Measurement | None
    after: Measurement
    message: str
    energy_objective: EnergyObjective = EnergyObjective.TOTAL

    def energy(self, of: Measurement | None) -> Interval | None:
        """None where it is unknown."""
        return None if of is None else of.energy(self.energy_objective)

    @property
    def latency_held(self) -> bool | None:
        return None if self.again is None else held(self.before.latency_s, self.again.latency_s)

    @property
    def energy_held(self) -> bool | None:
        """None where either energy is unknown."""
        before, again = self.energy(self.before), self.energy(self.again)
        if self.again is None or before is None or again is None:
            return None
        systematic = (m.energy_systematic(self.energy_objective) or 0.0 for m in (self.before, self.again))
        return held(before, again, *systematic)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemeasuredDevice:
    """before, after: its fronts. lost: why the device did not finish, None where it did."""

    before: DeviceFront
    after: DeviceFront
    candidates: tuple[Remeasured, ...]
    lost: str | None


def held(before: Interval, again: Interval, systematic: float = 0.0, systematic_again: float = 0.0) -> bool:
    """Whether two independent results differ by no more than their two 95 % intervals allow together.

    Of an energy the meter's own part (half widths) is left out: the same meter erred the same way both times.
    """
    widths = (before.half_width, again.half_width), (systematic, systematic_again)
    squares = [max(0.0, half**2 - own**2) for half, own in zip(*widths, strict=True)]
    return abs(before.value - again.value) <= math.sqrt(sum(squares))
