"""After the search: the front's members made as well as they can be, and measured again until the front is stable.

Each member is recovered once more with all calibration images and takes part under an id of its own. The front's
members and whoever is within the repeatability limit of it are measured until each has two independent jobs and nobody
new enters, at most MAXIMUM_ROUNDS times; else the luckiest measurement, not the best model, would win.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgepareto.host.domain import Candidate, CandidateId, Genome, Recipe, near_front
from edgepareto.host.study.device_search import DeviceSearch

__all__ = ["MAXIMUM_ROUNDS", "stabilise_fronts"]

MAXIMUM_ROUNDS = 5

Prepare = Callable[[Sequence[Genome], Recipe], list[Candidate]]
Measure = Callable[[Mapping[DeviceSearch, Sequence[Candidate]], int], None]


def stabilise_fronts(
    devices: Sequence[DeviceSearch],
    candidates: Mapping[CandidateId, Candidate],
    *,
    finalist_recipe: Recipe,
    prepare: Prepare,
    measure: Measure,
) -> None:
    """prepare: genomes to candidates, in order, known ones from memory. measure: one round on all devices.

    Raises what these two raise; lost devices drop out.
    """
    for round in range(MAXIMUM_ROUNDS):
        plans: dict[DeviceSearch, Sequence[Candidate]] = {}
        for device in devices:
            if not device.is_lost:
                finalists = prepare(_members(device, candidates), finalist_recipe)
                plans[device] = _to_measure(device, candidates, finalists)
        if not any(plans.values()):
            return
        measure({device: plan for device, plan in plans.items() if plan}, round)
    for device in devices:
        if not device.is_lost and _to_measure(device, candidates, ()):
            device.notice(f"the front was not yet stable after {MAXIMUM_ROUNDS} rounds of measuring again")


def _members(device: DeviceSearch, candidates: Mapping[CandidateId, Candidate]) -> list[Genome]:
    """The genomes on the front, but for the dense model's, which needs no recovery."""
    found = (candidates[member.candidate].genome for member in device.estimates().front(candidates))
    return [genome for genome in found if genome != device.batches.anchor.genome]


def _to_measure(
    device: DeviceSearch, candidates: Mapping[CandidateId, Candidate], finalists: Sequence[Candidate]
) -> list[Candidate]:
    """Finalists and everyone near the front who has fewer than two independent jobs; fastest first, finalists last."""
    estimates = device.estimates()
    near = sorted(near_front(estimates.feasible, estimates.limits), key=lambda e: (e.latency_s, e.candidate))
    wanted = dict.fromkeys([*(estimate.candidate for estimate in near), *(finalist.id for finalist in finalists)])
    found = (candidates[name] for name in wanted)
    return [candidate for candidate in found if candidate.failure is None and device.needs_another_job(candidate)]
