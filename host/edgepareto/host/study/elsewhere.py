"""What another device of the study found, which a new one's search starts from: kept when it begins, as it was then."""

from __future__ import annotations

from collections.abc import Mapping

from edgepareto.host.domain import (
    Candidate,
    CandidateId,
    Constraints,
    EnergyObjective,
    Genome,
    PruningSpace,
    Recipe,
    reduce_trace,
)
from edgepareto.host.errors import WrongUse
from edgepareto.host.store import DeviceRecord, DeviceState, FoundElsewhere, StudyStore
from edgepareto.host.study.estimates import estimate_all

__all__ = ["found_elsewhere", "in_this_space"]


def found_elsewhere(
    store: StudyStore,
    device: str,
    like: str | None,
    board: str,
    energy: str | None,
    recipe: Recipe,
) -> FoundElsewhere | None:
    """like: the device that the user named; None: one whose search is at its end, of this kind of board where there is
    one, and of several the one that measured most. recipe: of candidates in the search; finalists would count twice.

    None where there is none. Raises WrongUse where the named one has measured nothing.
    """
    if like == device:
        raise WrongUse(f"--like {like}: is the device itself; name another of this study, or drop --like")
    records = {record.name: record for record in store.devices() if record.name != device}
    if like is None:
        records = {name: record for name, record in records.items() if record.state is DeviceState.COMPLETE}
        alike = {name: record for name, record in records.items() if record.info.board == board}
        records = alike or records
    else:
        records = {name: record for name, record in records.items() if name == like}
    candidates = store.candidates()
    found = [_found(store, record, candidates, energy, recipe) for record in records.values()]
    best = max(found, key=lambda one: (len(one.rows), one.device), default=None)
    if best is not None and best.rows:
        return best
    if like is None:
        return None
    known = ", ".join(record.name for record in store.devices() if record.name != device) or "no other device"
    raise WrongUse(
        f"--like {like}: this study has measured nothing on it, it has {known}; search it first, or drop --like"
    )


def in_this_space(
    found: FoundElsewhere | None, space: PruningSpace
) -> tuple[tuple[Genome, tuple[float, ...], bool], ...]:
    """As `Search` takes it: each genome the nearest one that this space allows, once, and whether it is the same."""
    rows: dict[Genome, tuple[tuple[float, ...], bool]] = {}
    for genome, costs in () if found is None else found.rows:
        nearest = space.nearest(genome)
        is_exact = nearest == genome
        if is_exact or nearest not in rows:
            rows[nearest] = (costs, is_exact)
    return tuple((genome, costs, is_exact) for genome, (costs, is_exact) in rows.items())


def _found(
    store: StudyStore,
    record: DeviceRecord,
    candidates: Mapping[CandidateId, Candidate],
    energy: str | None,
    recipe: Recipe,
) -> FoundElsewhere:
    jobs = [reduce_trace(trace) for batch in store.batches(record.name) for trace in batch.traces]
    objective = EnergyObjective(energy or EnergyObjective.TOTAL) if record.has_energy else None
    estimates = estimate_all(jobs, candidates, energy=objective, constraints=Constraints())
    rows = (
        (candidates[name].genome, estimate.costs)
        for name, estimate in estimates.objectives.items()
        if candidates[name].recipe == recipe
    )
    return FoundElsewhere(device=record.name, rows=tuple(rows))
