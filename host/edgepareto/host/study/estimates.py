"""From a device's jobs to what can be compared: pooled measurements, objectives, the front. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from edgepareto.host.domain import (
    Candidate,
    CandidateId,
    ChannelGene,
    Constraints,
    DeploymentGenes,
    EnergyObjective,
    Estimate,
    Genome,
    Job,
    Measurement,
    PruningSpace,
    Repeatability,
    Shrinkage,
    allowed_widths,
    front,
    pool,
    repeatability,
)
from edgepareto.host.domain.paired_accuracy import sampling_noise
from edgepareto.host.search import HypervolumeScale, Outcome, hypervolume

__all__ = [
    "Estimates",
    "estimate_all",
    "fixed_scale",
    "front_hypervolume",
    "outcome",
    "outcome_of_spared",
    "shrinkage",
    "space_of_dense",
]

Candidates = Mapping[CandidateId, Candidate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """One device's candidates, pooled over all its jobs.

    limits: of the objectives. objectives: only of candidates with every objective known. feasible: those within the
    user's limits as well.
    """

    limits: Repeatability
    measurements: Mapping[CandidateId, Measurement]
    objectives: Mapping[CandidateId, Estimate]
    feasible: tuple[Estimate, ...]

    def front(self, candidates: Candidates) -> tuple[Estimate, ...]:
        """The non-dominated feasible candidates, fastest first, one per genome: the most accurate of its recipes.

        Versions of one genome cost the same by construction, so a second one on the front is there by noise alone.
        """
        best: dict[Genome, Estimate] = {}
        for member in front(self.feasible, self.limits):
            genome = candidates[member.candidate].genome
            if genome not in best or member.error < best[genome].error:
                best[genome] = member
        return tuple(sorted(best.values(), key=lambda e: (e.latency_s, e.error, e.candidate)))


def estimate_all(
    jobs: Iterable[Job], candidates: Candidates, *, energy: EnergyObjective | None, constraints: Constraints
) -> Estimates:
    """jobs: of one device. energy: which is an objective, None: none.

    A candidate whose energy is an objective and unknown, or not above 0, is measured but not comparable.
    """
    by_candidate: dict[CandidateId, list[Job]] = defaultdict(list)
    for job in jobs:
        by_candidate[job.candidate].append(job)
    everything = [job for found in by_candidate.values() for job in found]
    limits = repeatability(everything)
    dynamic_limits = repeatability(everything, EnergyObjective.DYNAMIC)
    pooled = {name: pool(found, limits, dynamic_limits=dynamic_limits) for name, found in by_candidate.items()}
    measurements = {name: found for name, found in pooled.items() if found is not None}
    objectives = {
        name: estimate
        for name, measurement in measurements.items()
        if (estimate := _estimate(candidates[name], measurement, energy)) is not None
    }
    return Estimates(
        limits=dynamic_limits if energy is EnergyObjective.DYNAMIC else limits,
        measurements=measurements,
        objectives=objectives,
        feasible=tuple(estimate for estimate in objectives.values() if constraints.allow(estimate)),
    )


def _estimate(candidate: Candidate, measurement: Measurement, energy: EnergyObjective | None) -> Estimate | None:
    energy_j = None if energy is None else measurement.energy(energy)
    if candidate.accuracy is None or (energy is not None and (energy_j is None or energy_j.value <= 0)):
        return None
    return Estimate(
        candidate=candidate.id,
        error=1 - candidate.accuracy,
        latency_s=measurement.latency_s.value,
        energy_j=None if energy_j is None else energy_j.value,
    )


def space_of_dense(dense: Genome, step: int | Sequence[int], deployments: DeploymentGenes) -> PruningSpace:
    """A device's search space from stored rows alone: the dense genome is every group's channels."""
    steps = (step,) * len(dense.widths) if isinstance(step, int) else step
    return PruningSpace(
        genes=tuple(
            ChannelGene(name=str(i), channels=width, widths=allowed_widths(range(1, width + 1), own))
            for i, (width, own) in enumerate(zip(dense.widths, steps, strict=True))
        ),
        deployments=deployments,
    )


def fixed_scale(
    first_generation: Sequence[Job],
    candidates: Candidates,
    seeds: Sequence[Genome],
    *,
    energy: EnergyObjective | None,
) -> HypervolumeScale | None:
    """The box of what a search begins with (PruningSpace.seeds), from the jobs of generation 0 alone; None before any
    is measured."""
    found = estimate_all(first_generation, candidates, energy=energy, constraints=Constraints())
    rungs = set(seeds)
    costs = [e.costs for name, e in found.objectives.items() if candidates[name].genome in rungs]
    return HypervolumeScale.spanned_by(costs) if costs else None


def front_hypervolume(estimates: Estimates, scale: HypervolumeScale | None) -> float | None:
    """Of the feasible candidates' front; None while the scale is unknown."""
    return None if scale is None else hypervolume([estimate.costs for estimate in estimates.feasible], scale)


def outcome(candidate: Candidate, estimates: Estimates, constraints: Constraints) -> Outcome[Genome]:
    """What a search is told of a candidate it asked for; no costs where an objective is unknown."""
    estimate = estimates.objectives.get(candidate.id)
    if estimate is None:
        return Outcome(genome=candidate.genome, costs=None)
    violation = constraints.violation(estimate)
    return Outcome(
        genome=candidate.genome,
        costs=estimate.costs,
        violation=tuple(min(v, 0.0) for v in violation) if constraints.allow(estimate) else violation,
        noise=_noise(candidate),
        relative=candidate.divergence,
    )


def outcome_of_spared(candidate: Candidate) -> Outcome[Genome]:
    """What a search is told of a candidate that has a score and was not measured."""
    assert candidate.accuracy is not None, "what is spared was scored"
    return Outcome(
        genome=candidate.genome,
        costs=None,
        first=1 - candidate.accuracy,
        noise=_noise(candidate),
        relative=candidate.divergence,
    )


def _noise(candidate: Candidate) -> float | None:
    return None if candidate.validation_hits is None else sampling_noise(candidate.validation_hits)


def shrinkage(
    search_jobs: Sequence[Job],
    later_jobs: Sequence[Job],
    candidates: Candidates,
    *,
    energy: EnergyObjective | None,
    constraints: Constraints,
) -> Shrinkage | None:
    """How much worse the search's own front got when it was measured again (winner's curse).

    The front is the one that the search's measurements alone give; None where none of its members was re-measured.
    """
    first = estimate_all(search_jobs, candidates, energy=energy, constraints=constraints)
    again = estimate_all(later_jobs, candidates, energy=energy, constraints=Constraints())
    anchors = {job.candidate for job in search_jobs if job.is_anchor}  # measured too often to be lucky
    pairs = [
        (member, again.objectives[member.candidate])
        for member in first.front(candidates)
        if member.candidate in again.objectives and member.candidate not in anchors
    ]
    if not pairs:
        return None
    energies = [
        later.energy_j / before.energy_j - 1
        for before, later in pairs
        if before.energy_j is not None and later.energy_j is not None
    ]
    return Shrinkage(
        candidates=len(pairs),
        latency=mean(later.latency_s / before.latency_s - 1 for before, later in pairs),
        energy=mean(energies) if energies else None,
    )
