"""Which candidates are worth having on one device: dominance under noise, the front, the knee."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.measurement import Repeatability
from numpy.typing import NDArray

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
    return bool(_domination(_costs([a]), _costs([b]), limits)[0, 0])


def front(estimates: Sequence[Estimate], limits: Repeatability) -> tuple[Estimate, ...]:
    """The estimates that no other dominates, fastest first. Empty only for no estimates."""
    if not estimates:
        return ()
    costs = _costs(estimates)
    beaten = np.logical_or.reduce(_domination(costs, costs, limits), axis=0)
    kept = [e for e, is_beaten in zip(estimates, beaten, strict=True) if not is_beaten]
    return tuple(sorted(kept, key=lambda e: (e.latency_s, e.error, e.candidate)))


def near_front(estimates: Sequence[Estimate], limits: Repeatability) -> tuple[Estimate, ...]:
    """The front and every estimate that could be on it were it better by the limit in latency and energy."""
    if not estimates:
        return ()
    members = front(estimates, limits)
    costs = _costs(estimates)
    better = costs - _slack(costs, limits)
    beaten = _domination(_costs(members), better, limits)
    beaten &= np.array([[m.candidate != e.candidate for e in estimates] for m in members])
    return tuple(
        e for e, is_beaten in zip(estimates, np.logical_or.reduce(beaten, axis=0), strict=True) if not is_beaten
    )


def _costs(estimates: Sequence[Estimate]) -> NDArray[np.float64]:
    """(n_estimates, n_objectives)"""
    return np.array([estimate.costs for estimate in estimates])


def _slack(costs: NDArray[np.float64], limits: Repeatability) -> NDArray[np.float64]:
    return np.array([0.0, math.log1p(limits.latency), math.log1p(limits.energy)])[: costs.shape[1]]


def _domination(a: NDArray[np.float64], b: NDArray[np.float64], limits: Repeatability) -> NDArray[np.bool_]:
    """`dominates` for every pair at once: (len(a), len(b)), True where a's row dominates b's."""
    gains = b[None, :, :] - a[:, None, :]
    no_worse: NDArray[np.bool_] = np.logical_and.reduce(gains >= 0, axis=2)
    better: NDArray[np.bool_] = np.logical_or.reduce(gains > _slack(a, limits), axis=2)
    return no_worse & better


def knee(members: Sequence[Estimate]) -> Estimate:
    """The member nearest to the ideal point, each objective scaled to the front's own range. ValueError on none."""
    if not members:
        raise ValueError("an empty front has no knee")
    costs = np.array([m.costs for m in members])
    low, high = costs.min(axis=0), costs.max(axis=0)
    scaled = (costs - low) / np.where(high > low, high - low, 1.0)
    return members[int(np.argmin(np.linalg.norm(scaled, axis=1)))]
