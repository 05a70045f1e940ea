"""The fronts of a study from its stored rows alone: no board, no model file, no data is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from edgepareto.host.config import FILE_NAME, SearchConfig, score_word
from edgepareto.host.config.values import is_function
from edgepareto.host.domain import (
    Candidate,
    CandidateId,
    DeviceFront,
    EnergyObjective,
    Estimate,
    FrontPoint,
    Genome,
    Job,
    Measurement,
    Sparing,
    StudyFronts,
    circumstances,
    knee,
    reduce_trace,
)
from edgepareto.host.errors import StudyError
from edgepareto.host.store import STUDY_FILE, DeviceRecord, DeviceState, Phase, Route, StudyIdentity, StudyStore
from edgepareto.host.study.distillation_remarks import distillation_remarks
from edgepareto.host.study.energy_wanted import no_energy_text
from edgepareto.host.study.estimates import (
    Estimates,
    estimate_all,
    fixed_scale,
    front_hypervolume,
    shrinkage,
    space_of_dense,
)
from edgepareto.host.study.model_files import model_file
from numpy.typing import NDArray

__all__ = ["MODELS_FOLDER", "candidate_model", "irreplaceable", "read_fronts", "sparing", "stored_search"]

MODELS_FOLDER = "models"
STOPPED = "the search is not at its end; if it was stopped, go on with --resume"
IDLE_OBJECTIVE = 0.98  # Spearman's rank correlation above which energy tells nothing that latency does not
FEWEST_RANKS = 10  # of fewer, chance alone ranks some in the same order


def read_fronts(study: Path, on_damaged: Callable[[str], None] | None = None) -> StudyFronts:
    """Every device on which the unpruned model was measured. StudyError where there is no study or no such device.

    A stored trace that cannot be read raises StudyError; with `on_damaged`, which is told the line, it is left out.
    """
    with StudyStore.open_for_reading(study) as store:
        identity = store.identity()
        candidates = store.candidates()
        fronts = (
            []
            if identity is None
            else [_device_front(store, identity, r, candidates, on_damaged) for r in store.devices()]
        )
    found = tuple(front for front in fronts if front is not None)
    if identity is None or not found:
        raise StudyError(f"{study}: nothing was measured yet; go on with host search --resume")
    return StudyFronts(
        study=study.name,
        model=Path(identity.model).name,
        metric=identity.search.metric,
        preset=identity.search.preset,
        algorithm=identity.search.algorithm,
        has_test_split=identity.test_sha256 is not None,
        devices=found,
    )


def stored_search(study: Path) -> SearchConfig | None:
    """The settings that a study was begun with, its last budgets included; None where there is no study."""
    if not StudyStore.exists(study):
        return None
    with StudyStore.open_for_reading(study) as store:
        identity = store.identity()
    return None if identity is None else identity.search


def irreplaceable(study: Path) -> tuple[Path, ...]:
    """What no output may overwrite: the study's database and models, and the model, samples and settings that it was
    begun with."""
    with StudyStore.open_for_reading(study) as store:
        identity = store.identity()
    own = (study / STUDY_FILE, study / MODELS_FOLDER)
    if identity is None:
        return own
    data = identity.data
    places = (data.calibration, data.validation, data.test)
    samples = (Path(place) for place in places if place is not None and not is_function(place))
    return (*own, Path(identity.model), *samples, study.parent / FILE_NAME)


def candidate_model(study: Path, candidate: CandidateId) -> Path:
    """The stored file that boards run. Raises StudyError for a candidate that the study does not have."""
    with StudyStore.open_for_reading(study) as store:
        found = store.candidates().get(candidate)
    if found is None or found.model_sha256 is None:
        raise StudyError(f"{study}: has no model of candidate {candidate}; host front lists the ones on a front")
    return model_file(study / MODELS_FOLDER, found.model_sha256, found.genome.deployment)


def _device_front(
    store: StudyStore,
    identity: StudyIdentity,
    record: DeviceRecord,
    candidates: Mapping[CandidateId, Candidate],
    on_damaged: Callable[[str], None] | None,
) -> DeviceFront | None:
    """None before the unpruned model was measured on the device."""
    jobs: dict[Phase, list[Job]] = {phase: [] for phase in Phase}
    first_generation: list[Job] = []
    for batch in store.batches(record.name, on_damaged):
        reduced = [reduce_trace(trace) for trace in batch.traces]
        jobs[batch.phase] += reduced
        if batch.phase is Phase.SEARCH and batch.round == 0:
            first_generation += reduced
    later = [*jobs[Phase.END], *jobs[Phase.REMEASURE]]
    everything = [*jobs[Phase.SEARCH], *later]
    constraints = identity.search.constraints
    objective = EnergyObjective(identity.search.energy or EnergyObjective.TOTAL)
    energy = objective if record.has_energy else None
    estimates = estimate_all(everything, candidates, energy=energy, constraints=constraints)
    usual = record.deployments.usual
    anchors = (job.candidate for job in everything if job.is_anchor)
    dense = next((name for name in anchors if candidates[name].genome.deployment == usual), None)
    if dense is None or dense not in estimates.measurements:
        return None
    members = estimates.front(candidates)
    knee_member = knee(members).candidate if members else None
    verified = store.verified(record.name)
    points = {
        name: FrontPoint(
            candidate=candidates[name],
            measurement=measurement,
            is_knee=name == knee_member,
            circumstances=circumstances([job for job in everything if job.candidate == name]),
            verified=verified.get(name),
        )
        for name, measurement in estimates.measurements.items()
        if candidates[name].accuracy is not None
    }
    on_front = dict.fromkeys(member.candidate for member in members)
    seeds = space_of_dense(candidates[dense].genome, record.steps, record.deployments).seeds()
    scale = fixed_scale(first_generation, candidates, seeds, energy=energy)
    searched = {job.candidate for job in jobs[Phase.SEARCH] if job.usable}
    return DeviceFront(
        device=record.info,
        complete=record.state is DeviceState.COMPLETE,
        incomplete_reason=None if record.state is DeviceState.COMPLETE else record.reason or STOPPED,
        measured=len(searched),
        dense=points[dense],
        front=tuple(points[name] for name in on_front),
        others=tuple(point for name, point in sorted(points.items()) if name not in on_front),
        hypervolume=front_hypervolume(estimates, scale) or 0.0,
        limits=estimates.limits,
        has_energy=record.has_energy,
        energy_objective=objective,
        threads=record.threads,
        sparing=sparing(
            store.taken_routes(record.name), searched, {candidates[name].genome for name in on_front}, candidates
        ),
        shrinkage=shrinkage(jobs[Phase.SEARCH], later, candidates, energy=energy, constraints=constraints),
        notes=(
            *store.notes(record.name),
            *_without_energy(everything, energy),
            *_remarks(estimates, members, candidates, identity, energy),
        ),
        incidents=store.incidents(record.name),
    )


def sparing(
    routes: Sequence[tuple[CandidateId, Route]],
    measured: Collection[CandidateId],
    on_front: Collection[Genome],
    candidates: Mapping[CandidateId, Candidate],
) -> Sparing | None:
    """on_front: whichever of its versions is on the front stands for a genome."""
    spared = sum(route is Route.SPARED for _, route in routes)
    audited = [name for name, route in routes if route is Route.AUDITED and name in measured]
    below = sum(route is Route.BELOW for _, route in routes)
    if not spared and not audited and not below:
        return None
    wrong = sum(candidates[name].genome in on_front for name in audited)
    return Sparing(below=below, candidates=spared, audited=len(audited), on_front=wrong)


def _remarks(
    estimates: Estimates,
    members: Sequence[Estimate],
    candidates: Mapping[CandidateId, Candidate],
    identity: StudyIdentity,
    energy: EnergyObjective | None,
) -> list[str]:
    """What a reader of the front must know and cannot see in its numbers."""
    found = []
    correlation = None if energy is None else _rank_correlation(list(estimates.measurements.values()), energy)
    if correlation is not None and correlation > IDLE_OBJECTIVE:
        found.append(
            f"energy ranks the candidates as latency does (Spearman {correlation:.3f}): "
            "here the third objective adds little"
        )
    least, score = identity.search.constraints.min_accuracy, score_word(identity.search.metric)
    tests = [candidates[member.candidate].test_accuracy for member in members]
    below = sum(value < least for value in tests if value is not None) if least is not None else 0
    if below:
        found.append(f"{below} of {len(members)} front members miss the minimum {score} {least} on the test split")
    if not members:
        found.append(
            "no measured candidate is within the limits that were set"
            if estimates.objectives and identity.search.constraints.count
            else f"no measured candidate has both an {score} and the energy that is an objective"
            if energy is not None
            else f"no measured candidate has an {score}"
        )
    return [*found, *distillation_remarks(estimates, members, candidates)]


def _without_energy(jobs: Sequence[Job], energy: EnergyObjective | None) -> list[str]:
    """One line per candidate that ran and has no energy, though it is an objective, in the words of its last job."""
    if energy is None:
        return []
    usable = [job for job in jobs if job.usable]
    known = {job.candidate for job in usable if job.energy is not None}
    last = {job.candidate: job for job in usable if job.candidate not in known}
    return [no_energy_text(job) for job in last.values()]


def _rank_correlation(measurements: Sequence[Measurement], energy: EnergyObjective) -> float | None:
    found = [(measurement.latency_s.value, measurement.energy(energy)) for measurement in measurements]
    pairs = [(latency_s, energy_j.value) for latency_s, energy_j in found if energy_j is not None]
    if len(pairs) < FEWEST_RANKS:
        return None
    by_latency, by_energy = (_ranks(np.array(column)) for column in zip(*pairs, strict=True))
    return float(np.corrcoef(by_latency, by_energy)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    return values.argsort().argsort()
