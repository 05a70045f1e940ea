"""From jobs to numbers that can be ranked: pool jobs, say how repeatable a device is. Pure.

The interval of one job is too narrow on its own, because drift between jobs is the larger error; so the pooled interval
is widened by the between-job variance of the anchor and of every repeated candidate (docs/measurement.md).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.device import DeviceName
from edgepareto.host.domain.interval import Interval, student_quantile
from edgepareto.host.domain.job import Job
from edgepareto.host.domain.trace import Status

__all__ = ["FEWEST_ANCHOR_JOBS", "EnergyObjective", "Measurement", "Repeatability", "pool", "repeatability"]

NORMAL_QUANTILE = 1.96
REPEATABILITY_FACTOR = 2.77  # ISO 5725-6: two results of one laboratory differ by more in 5 % of cases; 1.96 * sqrt(2)
DISTURBED = frozenset({Status.CONTENDED.value, Status.ANCHOR_DRIFT.value})  # tags of a number that is used all the same
FEWEST_ANCHOR_JOBS = 3  # before any interval is called reproducible


class EnergyObjective(str, Enum):
    """Which energy per inference is minimised: all of it, or what is drawn above idle."""

    TOTAL = "total"
    DYNAMIC = "dynamic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One candidate on one device, pooled over its jobs. SI units; what was not measured is None, never 0.

    energy_systematic_j, dynamic_systematic_j: the meter's part (k = 2) of the energies' half widths, which cancels
    between candidates of one board. preset: all that were used, "standard+audit". reproducible: the intervals are
    widened by what enough jobs of the anchor showed; without, they are provisional.
    """

    candidate: CandidateId
    device: DeviceName
    latency_s: Interval
    energy_j: Interval | None
    dynamic_energy_j: Interval | None
    jobs: int
    simulated: bool
    preset: str
    energy_systematic_j: float | None = None
    dynamic_systematic_j: float | None = None
    reproducible: bool = False
    tags: frozenset[str] = frozenset()

    def energy(self, objective: EnergyObjective) -> Interval | None:
        return self.energy_j if objective is EnergyObjective.TOTAL else self.dynamic_energy_j

    def energy_systematic(self, objective: EnergyObjective) -> float | None:
        return self.energy_systematic_j if objective is EnergyObjective.TOTAL else self.dynamic_systematic_j


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatability:
    """How far two jobs of one candidate on one device may lie apart, as a ratio: r_k = 2.77 x the between-job CV.

    energy is that of the objective. `repeats` are the degrees of freedom behind latency, energy_repeats behind energy
    (None: the same); with none the limit is 0. anchor_jobs: usable jobs of the anchor.
    """

    latency: float
    energy: float
    repeats: int
    energy_repeats: int | None = None
    anchor_jobs: int = 0

    @property
    def reproducible(self) -> bool:
        return self.anchor_jobs >= FEWEST_ANCHOR_JOBS

    @property
    def latency_cv(self) -> float:
        return self.latency / REPEATABILITY_FACTOR

    @property
    def energy_cv(self) -> float:
        return self.energy / REPEATABILITY_FACTOR


def pool(
    jobs: Sequence[Job], limits: Repeatability, *, dynamic_limits: Repeatability | None = None
) -> Measurement | None:
    """All usable jobs of one candidate on one device as one estimate, each job weighing the same; None without any.

    limits: with the repeatability of total energy; dynamic_limits: with that of dynamic energy, None: not known.
    A job tagged CONTENDED or ANCHOR_DRIFT counts as uncertain as one block (one window) of it: what disturbs a board
    outlasts a block, so their number does not average it away.
    Raises nothing; the jobs must be of one candidate and one device.
    """
    usable = [job for job in jobs if job.usable]
    if not usable:
        return None
    assert len({(job.candidate, job.device) for job in usable}) == 1
    latencies = [_as_tagged(job, job.latency.median_s, job.latency.blocks) for job in usable if job.latency]
    metered = [(job, job.energy) for job in usable if job.energy]
    total = [_as_tagged(job, energy.statistical_j, energy.windows) for job, energy in metered]
    dynamic = [
        _as_tagged(job, above_idle, energy.windows)
        for job, energy in metered
        if (above_idle := energy.dynamic_statistical_j) is not None
    ]
    systematic_j = _mean([energy.systematic_j for _, energy in metered])
    dynamic_systematic_j = _mean([energy.dynamic_systematic_j for _, energy in metered])
    of_dynamic = limits if dynamic_limits is None else dynamic_limits
    return Measurement(
        candidate=usable[0].candidate,
        device=usable[0].device,
        latency_s=_pooled(latencies, limits.latency_cv, limits.repeats),
        energy_j=_pooled(total, limits.energy_cv, _energy_freedom(limits), systematic_j) if total else None,
        dynamic_energy_j=_pooled(dynamic, of_dynamic.energy_cv, _energy_freedom(of_dynamic), dynamic_systematic_j)
        if dynamic
        else None,
        jobs=len(usable),
        simulated=usable[0].simulated,
        preset="+".join(dict.fromkeys(job.preset for job in usable)),
        energy_systematic_j=systematic_j,
        dynamic_systematic_j=dynamic_systematic_j,
        reproducible=limits.reproducible,
        tags=frozenset().union(*(job.tags for job in usable)),
    )


def repeatability(jobs: Iterable[Job], objective: EnergyObjective = EnergyObjective.TOTAL) -> Repeatability:
    """One pair of limits for a device, from every candidate that has at least two usable jobs (the anchor has most).

    Pooled variance of the logarithms, so the limits are ratios: s^2 = sum (n_i - 1) s_i^2 / sum (n_i - 1).
    """
    latencies: dict[CandidateId, list[float]] = defaultdict(list)
    energies: dict[CandidateId, list[float]] = defaultdict(list)
    anchors = anchors_with_energy = 0
    for job in jobs:
        if job.latency:
            latencies[job.candidate].append(job.latency.median_s.value)
            anchors += job.is_anchor
        energy_j = _energy_of(job, objective)
        if energy_j is not None and energy_j > 0:
            energies[job.candidate].append(energy_j)
            anchors_with_energy += job.is_anchor
    latency_cv, repeats = _pooled_cv(latencies)
    energy_cv, energy_repeats = _pooled_cv(energies)
    return Repeatability(
        latency=REPEATABILITY_FACTOR * latency_cv,
        energy=REPEATABILITY_FACTOR * energy_cv,
        repeats=repeats,
        energy_repeats=energy_repeats,
        anchor_jobs=anchors_with_energy if energies else anchors,
    )


def _energy_of(job: Job, objective: EnergyObjective) -> float | None:
    if job.energy is None:
        return None
    if objective is EnergyObjective.TOTAL:
        return job.energy.total_j.value
    return None if job.energy.dynamic_j is None else job.energy.dynamic_j.value


def _energy_freedom(limits: Repeatability) -> int:
    return limits.repeats if limits.energy_repeats is None else limits.energy_repeats


def _as_tagged(job: Job, interval: Interval, samples: int) -> Interval:
    return interval.with_half_width(interval.half_width * (math.sqrt(samples) if job.tags & DISTURBED else 1))


def _pooled(
    intervals: Sequence[Interval], between_cv: float, freedom: int, systematic: float | None = None
) -> Interval:
    """freedom: behind between_cv; with few the between-job part is Student's and not normal's.

    systematic: half width of an error that all jobs share.
    """
    value = float(np.mean([i.value for i in intervals]))
    within = float(np.mean([i.half_width**2 for i in intervals]))
    between = (student_quantile(freedom) if freedom else NORMAL_QUANTILE) * between_cv * value
    half = math.sqrt((within + between**2) / len(intervals))
    return Interval(value=value, low=value, high=value).with_half_width(math.hypot(half, systematic or 0.0))


def _pooled_cv(values: Mapping[CandidateId, Sequence[float]]) -> tuple[float, int]:
    groups = [np.log(v) for v in values.values() if len(v) > 1]
    freedom = sum(len(g) - 1 for g in groups)
    if not freedom:
        return 0.0, 0
    return math.sqrt(sum((len(g) - 1) * float(np.var(g, ddof=1)) for g in groups) / freedom), freedom


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
