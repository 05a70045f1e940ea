"""After the search: the front's members made as well as they can be, and measured again until the front is stable.

Each member is recovered once more with all calibration images and takes part under an id of its own. The front's
members and whoever is within the repeatability limit of it are measured until each has two independent jobs and nobody
new enters, at most MAXIMUM_ROUNDS times; else the luckiest measurement, not the best model, would win.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgepareto.host.domain import Candidate, CandidateId, Genome, near_front
from edgepareto.host.study.device_search import DeviceSearch

__all__ = ["MAXIMUM_ROUNDS", "stabilise_fronts"]

MAXIMUM_ROUNDS = 5

Begin = Callable[[Sequence[Genome]], list[CandidateId]]
Measure = Callable[[Mapping[DeviceSearch, Sequence[CandidateId]], int], None]


def stabilise_fronts(
    devices: Sequence[DeviceSearch],
    candidates: Mapping[CandidateId, Candidate],
    *,
    begin: Begin,
    measure: Measure,
) -> None:
    """begin: genomes to finalists, in order, which are made while boards measure others. measure: one round on all
    devices, at whose end everything begun is made and scored.

    Raises what these two raise; lost devices drop out.
    """
    for round in range(MAXIMUM_ROUNDS):
        plans: dict[DeviceSearch, Sequence[CandidateId]] = {}
        for device in devices:
            if not device.is_lost:
                finalists = begin(_members(device, candidates))
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
    device: DeviceSearch, candidates: Mapping[CandidateId, Candidate], finalists: Sequence[CandidateId]
) -> list[CandidateId]:
    """Finalists and everyone near the front who has fewer than two independent jobs; fastest first, finalists last.

    A finalist that is not in the table yet is being made.
    """
    estimates = device.estimates()
    near = sorted(near_front(estimates.feasible, estimates.limits), key=lambda e: (e.latency_s, e.candidate))
    wanted = dict.fromkeys([*(estimate.candidate for estimate in near), *finalists])
    failed = {name for name in wanted if name in candidates and candidates[name].model_sha256 is None}
    return [name for name in wanted if name not in failed and device.needs_another_job(name)]
