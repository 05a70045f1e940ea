"""Measuring a study's front again, for real: an independent look at numbers that were chosen for being good.

What is measured is stored beside the search and on no path of it: a resumed search decides as if it were not there, and
every front pools it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock

from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import (
    Candidate,
    DeviceFront,
    EnergyObjective,
    FrontPoint,
    Job,
    StudyFronts,
    StudyNotice,
    pool,
    reduce_trace,
    repeatability,
)
from edgepareto.host.domain.remeasured import Remeasured, RemeasuredDevice
from edgepareto.host.errors import EdgeParetoError, StudyError, WrongUse
from edgepareto.host.export import pick
from edgepareto.host.fleet import WAIT_S, lease_owner
from edgepareto.host.fleet import connect as connect_fleet
from edgepareto.host.store import DeviceRecord, StudyIdentity, StudyStore
from edgepareto.host.study.fronts import MODELS_FOLDER, read_fronts
from edgepareto.host.study.late_test_scores import score_late_members
from edgepareto.host.study.model_files import files_of, inputs_file
from edgepareto.host.study.profiler import Connect
from edgepareto.host.study.remeasuring_device import RemeasuringDevice

__all__ = ["as_reached_today", "remeasure"]

Listener = Callable[[StudyNotice], None]


def remeasure(
    study: Path,
    *,
    device: str | None,
    candidates: Sequence[str],
    preset: str | None,
    known: Sequence[DeviceConfig],
    folder: Path,
    listener: Listener,
    wait_s: float = WAIT_S,
    connect: Connect = connect_fleet,
) -> tuple[RemeasuredDevice, ...]:
    """One more job of each candidate on each device. None named: every member of the fronts.

    device None: all of the study. candidates: ids, which may be shortened, or knee, fastest and so on, for every device
    that has them. preset None: the search's. known: devices as set today; their addresses win over the stored ones.
    wait_s: in line for boards that others use. folder: where a user's module:function is looked for, should a new
    member of a front need its test score. The listener is called by one thread at a time. KeyboardInterrupt passes
    through; finished batches are stored. Raises StudyError, WrongUse, DeviceError. A lost device costs the others
    nothing and is told in its result.
    """
    before = read_fronts(study)
    wanted = _wanted(before, study, device, candidates)
    with ExitStack() as stack:
        store = stack.enter_context(StudyStore.open_for_search(study))
        identity = store.identity()
        assert identity is not None, "its fronts were read"
        records = {record.name: record for record in store.devices()}
        configs = [as_reached_today(records[front.device.name], known) for front in wanted]
        _require_files(study, wanted)
        stop = Event()
        threads = stack.enter_context(ThreadPoolExecutor(len(wanted), thread_name_prefix="device"))
        owner = lease_owner(str(study.absolute()))
        tell = _one_at_a_time(listener)
        profilers = stack.enter_context(
            connect(configs, owner=owner, state=study / "agents", wait_s=wait_s, tell=lambda text: tell(text, False))
        )
        stack.callback(stop.set)  # first of all, so that a lost connection is told from one we hung up
        work = [
            RemeasuringDevice(
                store=store,
                profiler=profilers[front.device.name],
                record=records[front.device.name],
                identity=identity,
                preset=preset or identity.search.preset,
                models=study / MODELS_FOLDER,
                anchors=_anchors(store, front.dense.candidate),
                stop=stop,
                tell=tell,
            )
            for front in wanted
        ]
        for one in work:
            one.check()
        lost = _measured(work, [[point.candidate for point in points] for points in wanted.values()], threads)
        if identity.test_sha256 is not None:
            _score_new_members(store, identity, study, folder, tell)
        after = {front.device.name: front for front in read_fronts(study).devices}
        return tuple(
            _compared(front, after[front.device.name], points, one.jobs, store, reason)
            for (front, points), one, reason in zip(wanted.items(), work, lost, strict=True)
        )


def _measured(
    work: Sequence[RemeasuringDevice], plans: Sequence[Sequence[Candidate]], threads: ThreadPoolExecutor
) -> list[str | None]:
    """Side by side; then, one after the other, those whose numbers another simulated board's computing would spoil."""
    together = {
        place: threads.submit(one.measure, plans[place])
        for place, one in enumerate(work)
        if not one.computes_on_the_host
    }
    lost = {place: future.result() for place, future in together.items()}
    for place, one in enumerate(work):
        if place not in lost:
            lost[place] = threads.submit(one.measure, plans[place]).result()
    return [lost[place] for place in range(len(work))]


def _score_new_members(
    store: StudyStore, identity: StudyIdentity, study: Path, folder: Path, tell: Callable[[str, bool], None]
) -> None:
    fronts = read_fronts(study).devices
    members = {point.candidate.id: point.candidate for front in fronts for point in front.front}
    missing = [candidate for candidate in members.values() if candidate.test_accuracy is None]
    try:
        dense = fronts[0].dense.candidate
        score_late_members(store, identity, missing, dense, models=study / MODELS_FOLDER, folder=folder)
    except EdgeParetoError as error:  # what was measured is worth more than a score that can come later
        tell(f"new on a front and not scored on the test split: {', '.join(c.id for c in missing)}: {error}", True)


def _wanted(
    fronts: StudyFronts, study: Path, device: str | None, candidates: Sequence[str]
) -> dict[DeviceFront, list[FrontPoint]]:
    """Per device, in its order. The dense model is measured with every batch and not listed."""
    chosen = [front for front in fronts.devices if device in (None, front.device.name)]
    if not chosen:
        names = ", ".join(front.device.name for front in fronts.devices)
        raise WrongUse(f"device {device} is not in {study}; it has {names}")
    wanted: dict[DeviceFront, list[FrontPoint]] = {}
    if candidates:
        for name in candidates:
            _add(wanted, chosen, name)
    else:
        wanted = {front: list(front.front) for front in chosen}
    return {
        front: [p for p in points if p.candidate.id != front.dense.candidate.id] for front, points in wanted.items()
    }


def _add(wanted: dict[DeviceFront, list[FrontPoint]], fronts: Sequence[DeviceFront], name: str) -> None:
    """To every device that has it. Raises WrongUse where none does."""
    refusals = []
    for front in fronts:
        try:
            point = pick(front, name)
        except WrongUse as error:
            refusals.append(error)
            continue
        points = wanted.setdefault(front, [])
        if point not in points:
            points.append(point)
    if len(refusals) == len(fronts):
        raise refusals[0]


def as_reached_today(record: DeviceRecord, known: Sequence[DeviceConfig]) -> DeviceConfig:
    """As the study has it, where it is reached today."""
    stored = record.config
    today = next((device for device in known if device.name == stored.name), None)
    if today is None or (today.simulate, today.local) != (stored.simulate, stored.local):
        return stored
    reached = {"address": today.address, "ssh": today.ssh, "board_id": today.board_id, "trust": today.trust}
    return replace(stored, **reached, shared=today.shared, faults=today.faults)  # type: ignore[arg-type]


def _require_files(study: Path, wanted: Mapping[DeviceFront, Sequence[FrontPoint]]) -> None:
    models = study / MODELS_FOLDER
    for front, own in wanted.items():
        for file in _files(models, [point.candidate for point in (front.dense, *own)]):
            if not file.is_file():
                raise StudyError(f"{file}: is gone; delete {models} and make it again with host search --resume")


def _files(models: Path, candidates: Sequence[Candidate]) -> Iterator[Path]:
    for candidate in candidates:
        way = candidate.genome.deployment
        yield inputs_file(models, way)
        yield from files_of(models, str(candidate.model_sha256), way)


def _anchors(store: StudyStore, dense: Candidate) -> dict[str, Candidate]:
    """The unpruned model in each clock mode that it was measured in."""
    usual = dense.genome.deployment
    found = {usual.clock_mode: dense}
    for candidate in store.candidates().values():
        way = candidate.genome.deployment
        is_dense = candidate.genome.is_pruned_like(dense.genome) and candidate.recipe == dense.recipe
        if is_dense and way == replace(usual, clock_mode=way.clock_mode):
            found.setdefault(way.clock_mode, candidate)
    return found


def _compared(
    before: DeviceFront,
    after: DeviceFront,
    points: Sequence[FrontPoint],
    new: Sequence[Job],
    store: StudyStore,
    lost: str | None,
) -> RemeasuredDevice:
    everything = [reduce_trace(trace) for batch in store.batches(before.device.name) for trace in batch.traces]
    limits = repeatability(everything)
    dynamic_limits = repeatability(everything, EnergyObjective.DYNAMIC)
    pooled = {point.candidate.id: point.measurement for point in (after.dense, *after.front, *after.others)}
    found = []
    for point in (before.dense, *points):
        name = point.candidate.id
        jobs = [job for job in new if job.candidate == name]
        if jobs:
            again = pool(jobs, limits, dynamic_limits=dynamic_limits)
            message = "" if again is not None else f"{jobs[-1].status.value} {jobs[-1].message}".rstrip()
            found.append(
                Remeasured(
                    candidate=name,
                    before=point.measurement,
                    again=again,
                    after=pooled[name],
                    message=message,
                    energy_objective=before.energy_objective,
                )
            )
    return RemeasuredDevice(before=before, after=after, candidates=tuple(found), lost=lost)


def _one_at_a_time(listener: Listener) -> Callable[[str, bool], None]:
    lock = Lock()

    def tell(text: str, is_warning: bool) -> None:
        with lock:
            listener(StudyNotice(text=text, is_warning=is_warning))

    return tell
