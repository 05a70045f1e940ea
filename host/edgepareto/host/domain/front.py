"""Which candidates are worth having on one device: dominance under noise, the front, the knee."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.measurement import Repeatability

__all__ = ["Constraints", "Estimate", "dominates", "front", "knee", "near_front"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A candidate's pooled objectives on one device, all minimised. energy_j None: the device has no meter."""

    candidate: CandidateId
    error: float
    latency_s: float
    energy_j: float | None

    @property
    def costs(self) -> tuple[float, ...]:
        """Error linear, latency and energy as logarithms, so that a relative limit is a difference."""
        base = (self.error, math.log(self.latency_s))
        return base if self.energy_j is None else (*base, math.log(self.energy_j))


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """The user's hard limits; None: no limit."""

    min_accuracy: float | None = None
    max_latency_s: float | None = None
    max_energy_j: float | None = None

    def violation(self, estimate: Estimate) -> tuple[float, ...]:
        """How far each set limit is exceeded; <= 0 is feasible."""
        broken = []
        if self.min_accuracy is not None:
            broken.append(self.min_accuracy - (1 - estimate.error))
        if self.max_latency_s is not None:
            broken.append(estimate.latency_s / self.max_latency_s - 1)
        if self.max_energy_j is not None:
            broken.append(math.inf if estimate.energy_j is None else estimate.energy_j / self.max_energy_j - 1)
        return tuple(broken)

    def allow(self, estimate: Estimate) -> bool:
        return all(value <= 1e-12 for value in self.violation(estimate))  # rounding of 1 - (1 - accuracy)

    @property
    def count(self) -> int:
        return sum(limit is not None for limit in (self.min_accuracy, self.max_latency_s, self.max_energy_j))


def dominates(a: Estimate, b: Estimate, limits: Repeatability) -> bool:
    """No worse in every objective and better by more than the repeatability limit in at least one.

    A strict partial order. "Closer than the limit is equal" would not be one: three points make a cycle and the front
    vanishes (docs/measurement.md). The limit of accuracy is 0.
    """
    slack = (0.0, math.log1p(limits.latency), math.log1p(limits.energy))
    gains = [y - x for x, y in zip(a.costs, b.costs, strict=True)]
    return min(gains) >= 0 and any(gain > limit for gain, limit in zip(gains, slack, strict=False))


def front(estimates: Sequence[Estimate], limits: Repeatability) -> tuple[Estimate, ...]:
    """The estimates that no other dominates, fastest first. Empty only for no estimates."""
    kept = [a for a in estimates if not any(dominates(b, a, limits) for b in estimates)]
    return tuple(sorted(kept, key=lambda e: (e.latency_s, e.error, e.candidate)))


def near_front(estimates: Sequence[Estimate], limits: Repeatability) -> tuple[Estimate, ...]:
    """The front and every estimate that could be on it were it better by the limit in latency and energy."""
    members = front(estimates, limits)

    def could_enter(e: Estimate) -> bool:
        better = Estimate(
            candidate=e.candidate,
            error=e.error,
            latency_s=e.latency_s / (1 + limits.latency),
            energy_j=None if e.energy_j is None else e.energy_j / (1 + limits.energy),
        )
        return not any(dominates(m, better, limits) for m in members if m.candidate != e.candidate)

    return tuple(e for e in estimates if could_enter(e))


def knee(members: Sequence[Estimate]) -> Estimate:
    """The member nearest to the ideal point, each objective scaled to the front's own range. ValueError on none."""
    if not members:
        raise ValueError("an empty front has no knee")
    costs = np.array([m.costs for m in members])
    low, high = costs.min(axis=0), costs.max(axis=0)
    scaled = (costs - low) / np.where(high > low, high - low, 1.0)
    return members[int(np.argmin(np.linalg.norm(scaled, axis=1)))]
