"""The main job: search on every device, settle the fronts, score them; resumed by running it again.

Every device goes its own way (`device_course`): asked, measured and told while what is unknown is made and scored in
processes of their own. Accuracy is shared between devices, since it depends on none of them; populations are not,
latency does.
"""

from __future__ import annotations

import shutil
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from types import FrameType

from edgepareto.host.config import DeviceConfig, StudyConfig, score_word
from edgepareto.host.config.values import SURROGATE
from edgepareto.host.distil import require_torch
from edgepareto.host.domain import (
    Candidate,
    CandidateId,
    DeviceName,
    DeviceProgress,
    PruningSpace,
    StudyFronts,
    StudyNotice,
)
from edgepareto.host.domain.learned_steps import ChannelSteps
from edgepareto.host.errors import DeviceError, EvaluationError, Failed, StudyError, WrongUse
from edgepareto.host.export import write_sample_inputs
from edgepareto.host.fleet import WAIT_S, lease_owner
from edgepareto.host.fleet import connect as connect_fleet
from edgepareto.host.pruning import RECOVERY_VERSION, GraphFeatures
from edgepareto.host.store import DeviceRecord, DeviceState, StudyIdentity, StudyStore
from edgepareto.host.study.batches import DeviceBatches, StudyClock
from edgepareto.host.study.channel_steps import channel_steps, planned_steps, step_changed
from edgepareto.host.study.device_course import DeviceCourse
from edgepareto.host.study.device_report import Listener
from edgepareto.host.study.device_search import DeviceSearch
from edgepareto.host.study.elsewhere import found_elsewhere
from edgepareto.host.study.energy_wanted import energy_flags
from edgepareto.host.study.finalists_on_boards import score_on_boards
from edgepareto.host.study.fronts import candidate_model, read_fronts
from edgepareto.host.study.inputs import StudyInputs, load_inputs, search_space
from edgepareto.host.study.kept_deployments import require_still_offered
from edgepareto.host.study.model_files import inputs_file
from edgepareto.host.study.offered_deployments import offered_deployments
from edgepareto.host.study.pipeline import Follow, pipelined
from edgepareto.host.study.preparation import Preparation
from edgepareto.host.study.profiler import Connect, Profiler
from edgepareto.host.study.replay import check_same_study, installed_libraries
from edgepareto.host.study.workshop import Workshop

__all__ = ["run_study"]

SAMPLE_INPUTS = 8  # what boards run and compare; enough that no constant output passes
DEVICE_SETTINGS = ("simulate", "local", "seed", "threads", "runtime")  # a replay depends on them


def run_study(
    config: StudyConfig,
    *,
    resume: bool,
    listener: Listener,
    wait_s: float = WAIT_S,
    connect: Connect = connect_fleet,
    follow: Follow = pipelined,
) -> StudyFronts:
    """The whole job, from an empty folder or from wherever it was stopped.

    The listener is called by one thread at a time. wait_s: in line for boards that others use. Raises WrongUse before
    anything is measured, Failed on the way. KeyboardInterrupt passes through; like a kill at any moment it loses no
    finished batch. A device that is lost costs the others nothing: its front is kept, marked incomplete.
    """
    if StudyStore.exists(config.study) and not (resume or (config.search.like and _adds_a_device(config))):
        raise StudyError(f"{config.study}: this study exists; go on with --resume or choose another --study")
    inputs = load_inputs(config)
    if not StudyStore.exists(config.study):  # else its own steps count, and they were good when it began
        for device in config.devices:
            search_space(inputs, planned_steps(inputs, config, device).by_group, device.name)
    tell = _one_at_a_time(listener)
    with ExitStack() as stack:
        stack.enter_context(_leaving_nothing_refused(config.study))
        store = stack.enter_context(StudyStore.open_for_search(config.study))
        if store.identity() is None:
            store.forget_failed_start()
        identity = _identity(store, config, inputs)
        if not _is_finished(store, config):
            if inputs.distilled_recipe is not None:
                require_torch()
            profilers = partial(connect, wait_s=wait_s, tell=lambda text: tell(StudyNotice(text=text)))
            _search(config, inputs, identity, store, tell, profilers, follow, stack)
    return read_fronts(config.study)


def _adds_a_device(config: StudyConfig) -> bool:
    """To the study that exists: what a known one started from stays."""
    with StudyStore.open_for_reading(config.study) as store:
        known = {record.name for record in store.devices()}
    return any(device.name not in known for device in config.devices)


def _search(
    config: StudyConfig,
    inputs: StudyInputs,
    identity: StudyIdentity,
    store: StudyStore,
    listener: Listener,
    connect: Connect,
    follow: Follow,
    stack: ExitStack,
) -> None:
    """The stack ends in this order: say stop, hang up, end the preparation, join the threads, close the store."""
    models = inputs.task.models
    models.mkdir(exist_ok=True)
    write_sample_inputs(inputs.calibration, SAMPLE_INPUTS, inputs_file(models))
    threads = stack.enter_context(ThreadPoolExecutor(len(config.devices), thread_name_prefix="device"))
    preparation = stack.enter_context(Preparation(inputs.task, config.search.workers))
    owner = lease_owner(str(config.study.absolute()))
    profilers = stack.enter_context(connect(config.devices, owner=owner, state=config.study / "agents"))
    clock = StudyClock(float(store.meta("elapsed_s") or 0), config.search.minutes)
    stack.enter_context(_stopping_on_ctrl_c(clock))
    stack.callback(clock.stop.set)
    records = [_record(store, config, inputs, device, profilers, listener) for device in config.devices]
    spaces = {record.name: search_space(inputs, record.steps, record.name, record.deployments) for record in records}
    for record in records:
        _say_what_is_missing(record, score_word(config.search.metric), listener)
    for remark in inputs.remarks:
        listener(StudyNotice(text=remark))
    for doubt in inputs.calibration.doubts():
        listener(StudyNotice(text=doubt, is_warning=True))
    workshop = Workshop(inputs, store, preparation)
    anchors = {record.name: _anchors(workshop, spaces[record.name], inputs) for record in records}
    store.save_devices(*records)  # at once: what a new one starts from depends on who is complete
    store.save_identity(identity.with_budgets_of(config.search))
    devices = []
    for record in records:
        batches = DeviceBatches(
            store=store,
            profiler=profilers[record.name],
            record=record,
            study_id=identity.id,
            seed=config.search.seed,
            preset=config.search.preset,
            models=models,
            anchors=anchors[record.name],
            clock=clock,
        )
        space = spaces[record.name]
        features = GraphFeatures(inputs.analysis, space)
        devices.append(DeviceSearch(batches, space, config.search, workshop.candidates, listener, features))
    follow(workshop, threads, [DeviceCourse(device, workshop.candidates, inputs) for device in devices])
    workshop.wait()
    clock.raise_if_stopped()
    if inputs.test_sha256 is not None and any(device.has_front for device in devices):
        workshop.score_on_test([*(d.batches.anchor.id for d in devices), *_shown_members(config.study)])
    there = {d.name: profilers[d.name] for d in devices if d.has_front and not d.is_lost}
    score_on_boards(store, identity, config.study, config.folder, there, listener)
    for device in devices:
        if not device.is_lost:
            device.complete()
    _require_one(devices)
    if clock.is_over:
        listener(StudyNotice(text=f"the search ended after {config.search.minutes:g} minutes"))


def _anchors(workshop: Workshop, space: PruningSpace, inputs: StudyInputs) -> dict[str, Candidate]:
    """The unpruned model as the device usually runs it, once for each clock mode."""
    dense = space.dense()
    genomes = {
        mode: replace(dense, deployment=replace(dense.deployment, clock_mode=mode))
        for mode in space.deployments.clock_modes
    }
    names = workshop.begin(genomes.values(), inputs.search_recipe)
    workshop.wait()
    for name in names:
        if (failure := workshop.candidates[name].failure) is not None:
            raise EvaluationError(f"{inputs.task.model}: the unpruned model itself cannot be used: {failure}")
    return {mode: workshop.candidates[name] for mode, name in zip(genomes, names, strict=True)}


@contextmanager
def _leaving_nothing_refused(study: Path) -> Iterator[None]:
    """A study that was refused before it began is no folder either, where there was none."""
    was_there = study.exists()
    try:
        yield
    except WrongUse:
        if not was_there and not StudyStore.exists(study):
            shutil.rmtree(study, ignore_errors=True)
        raise


@contextmanager
def _stopping_on_ctrl_c(clock: StudyClock) -> Iterator[None]:
    """Ctrl-C also leaves a mark: an exception that meets a destructor or a library's callback is dropped by Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        clock.stop.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _shown_members(study: Path) -> Iterator[CandidateId]:
    """Of the fronts as a user sees them, what was remeasured included, and what they were distilled from, where their
    files are there."""
    for front in read_fronts(study).devices:
        for point in (*front.front, *filter(None, map(front.twin, front.front))):
            if candidate_model(study, point.candidate.id).is_file():
                yield point.candidate.id


def _identity(store: StudyStore, config: StudyConfig, inputs: StudyInputs) -> StudyIdentity:
    """The stored study's, or a new one. Raises StudyError where they are not the same study."""
    wanted = StudyIdentity(
        id=uuid.uuid4().hex,
        model=str(config.model),
        model_sha256=inputs.model_sha256,
        calibration_sha256=inputs.calibration.sha256,
        validation_sha256=inputs.validation_sha256,
        test_sha256=inputs.test_sha256,
        data=config.data,
        search=config.search,
        libraries=installed_libraries(),
        recovery=RECOVERY_VERSION,
    )
    stored = store.identity()
    if stored is None:
        return wanted
    check_same_study(stored, wanted, str(config.study))
    return stored


def _is_finished(store: StudyStore, config: StudyConfig) -> bool:
    """Nothing would be measured or made: no board needs to be there to print a finished study."""
    complete = {record.name for record in store.devices() if record.is_complete(config.search)}
    if not {device.name for device in config.devices} <= complete:
        return False
    fronts = read_fronts(config.study).devices
    return all(
        candidate_model(config.study, point.candidate.id).is_file()
        for front in fronts
        for point in (front.dense, *front.front)
    )


def _record(
    store: StudyStore,
    config: StudyConfig,
    inputs: StudyInputs,
    device: DeviceConfig,
    profilers: Mapping[DeviceName, Profiler],
    listener: Listener,
) -> DeviceRecord:
    """Raises WrongUse for a limit that cannot be kept, StudyError and DeviceError where the device is not as before."""
    info = profilers[DeviceName(device.name)].info
    has_energy = info.meter is not None and info.meter.fault is None
    stored = next((record for record in store.devices() if record.name == device.name), None)
    if stored is not None:
        changed = [name for name in DEVICE_SETTINGS if getattr(stored.config, name) != getattr(device, name)]
        changed += ["step"] if step_changed(stored, device) else []
        if changed:
            raise StudyError(
                f"{device.name}: {', '.join(changed)} changed since this study began; "
                "restore it or choose another --study"
            )
        if stored.meter_failure is not None:
            has_energy = True
        elif stored.has_energy != has_energy:
            then, now = ("had", "none") if stored.has_energy else ("had no", "one")
            raise DeviceError(
                f"{device.name}: {then} power meter when this study began and has {now} now"
                f"{_fault(info.meter.fault) if info.meter else ''}; put it back or choose another --study"
            )
    if not has_energy and (asked := energy_flags(config.search)):
        meter = "has no power meter" if info.meter is None else f"has a meter that does not work ({info.meter.fault})"
        raise WrongUse(f"{device.name}: {' and '.join(asked)} cannot be kept, it {meter}; drop it or the device")
    if stored is None:
        steps: ChannelSteps | None = channel_steps(inputs, config, device, info, listener)
        samples = len(inputs.calibration)
        deployments = offered_deployments(config.search, device, info, inputs.model, samples, listener)
        search = config.search
        elsewhere = found_elsewhere(store, device.name, search.like, info.board, search.energy, inputs.search_recipe)
        if elsewhere is not None:
            many = len(elsewhere.rows)
            listener(StudyNotice(text=f"{device.name}: starts from what {elsewhere.device} found, {many} candidates"))
    else:
        steps, deployments, elsewhere = stored.channel_steps, stored.deployments, stored.elsewhere
        require_still_offered(deployments, info)
    return DeviceRecord(
        config=device if stored is None else replace(device, step=stored.config.step),
        info=info,
        has_energy=has_energy,
        state=DeviceState.RUNNING,
        channel_steps=steps,
        deployments=deployments,
        elsewhere=elsewhere,
        spares=config.search.algorithm == SURROGATE if stored is None else stored.spares,
    )


def _say_what_is_missing(record: DeviceRecord, score: str, listener: Listener) -> None:
    if not record.has_energy:
        meter = record.info.meter
        why = _fault(meter.fault) if meter else ""
        text = f"{record.name}: NO POWER METER{why}: energy is no objective on this device, latency and {score} are"
        listener(StudyNotice(text=text, is_warning=True))


def _fault(fault: str | None) -> str:
    return f" ({fault})" if fault else ""


def _require_one(devices: Sequence[DeviceSearch]) -> None:
    if all(device.is_lost for device in devices):
        reasons = "; ".join(str(device.batches.record.reason) for device in devices)
        kept = "what was measured is kept, " if any(device.has_numbers for device in devices) else ""
        raise Failed(f"every device was lost: {reasons}; {kept}go on with --resume")


def _one_at_a_time(listener: Listener) -> Listener:
    lock = Lock()

    def tell(event: DeviceProgress | StudyNotice) -> None:
        with lock:
            listener(event)

    return tell
