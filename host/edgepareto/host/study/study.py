"""The main job: search on every device in lock-step, settle the fronts, score them; resumed by running it again.

Per generation: ask every device, prepare what is unknown in processes of their own, measure on all devices side by
side, tell. Accuracy is shared between devices, since it depends on none of them; populations are not, latency does.
"""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from threading import Lock
from types import FrameType

from edgepareto.host.config import DeviceConfig, StudyConfig
from edgepareto.host.domain import (
    Candidate,
    CandidateId,
    DeviceName,
    DeviceProgress,
    Genome,
    Recipe,
    SearchSpace,
    StudyFronts,
    StudyNotice,
    candidate_id,
)
from edgepareto.host.errors import DeviceError, EvaluationError, Failed, StudyError, WrongUse
from edgepareto.host.export import write_sample_inputs
from edgepareto.host.fleet import connect as connect_fleet
from edgepareto.host.fleet import lease_owner
from edgepareto.host.store import DeviceRecord, DeviceState, StudyIdentity, StudyStore
from edgepareto.host.study.batches import DeviceBatches, StudyClock
from edgepareto.host.study.device_search import DeviceSearch, Listener
from edgepareto.host.study.end_phase import stabilise_fronts
from edgepareto.host.study.evaluate_candidate import expected_outputs_file, inputs_file, model_file
from edgepareto.host.study.fronts import candidate_model, read_fronts
from edgepareto.host.study.inputs import StudyInputs, load_inputs, search_space
from edgepareto.host.study.preparation import Preparation
from edgepareto.host.study.profiler import Connect, Profiler
from edgepareto.host.study.replay import check_same_study, installed_libraries

__all__ = ["run_study"]

SAMPLE_INPUTS = 8  # what boards run and compare; enough that no constant output passes
DEVICE_SETTINGS = ("simulate", "local", "seed", "threads", "step", "runtime")  # a replay depends on them


def run_study(
    config: StudyConfig, *, resume: bool, listener: Listener, connect: Connect = connect_fleet
) -> StudyFronts:
    """The whole job, from an empty folder or from wherever it was stopped.

    The listener is called by one thread at a time. Raises WrongUse before anything is measured, Failed on the way.
    KeyboardInterrupt passes through; like a kill at any moment it loses no finished batch. A device that is lost costs
    the others nothing: its front is kept, marked incomplete.
    """
    if StudyStore.exists(config.study) and not resume:
        raise StudyError(f"{config.study}: this study exists; go on with --resume or choose another --study")
    inputs = load_inputs(config)
    spaces = {device.name: search_space(inputs, device.step, device.name) for device in config.devices}
    tell = _one_at_a_time(listener)
    with ExitStack() as stack:
        store = stack.enter_context(StudyStore.open_for_search(config.study))
        if store.identity() is None:
            store.forget_failed_start()
        identity = _identity(store, config, inputs)
        if not _is_finished(store, config):
            _search(config, inputs, spaces, identity, store, tell, connect, stack)
    return read_fronts(config.study)


def _search(
    config: StudyConfig,
    inputs: StudyInputs,
    spaces: Mapping[str, SearchSpace],
    identity: StudyIdentity,
    store: StudyStore,
    listener: Listener,
    connect: Connect,
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
    records = [_record(store, config, device, profilers) for device in config.devices]
    for record in records:
        _say_what_is_missing(record, listener)
    for doubt in inputs.calibration.doubts():
        listener(StudyNotice(text=doubt, is_warning=True))
    workshop = _Workshop(inputs, store, preparation, threads)
    dense = workshop.prepare([spaces[config.devices[0].name].dense()], inputs.search_recipe)[0]
    if dense.failure is not None:
        raise EvaluationError(f"{config.model}: the unpruned model itself cannot be used: {dense.failure}")
    for record in records:
        store.save_device(record)
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
            anchor=dense,
            clock=clock,
        )
        devices.append(DeviceSearch(batches, spaces[record.name], config.search, workshop.candidates, listener))
    _run(devices, workshop, inputs, clock)
    if clock.is_over:
        listener(StudyNotice(text=f"the search ended after {config.search.minutes:g} minutes"))


def _run(devices: Sequence[DeviceSearch], workshop: _Workshop, inputs: StudyInputs, clock: StudyClock) -> None:
    while asked := {device: genomes for device in devices if device.is_searching and (genomes := device.ask())}:
        workshop.prepare(list(dict.fromkeys(chain.from_iterable(asked.values()))), inputs.search_recipe)
        generation = {device: workshop.prepare(genomes, inputs.search_recipe) for device, genomes in asked.items()}
        workshop.on_devices({device: _measuring(device, found) for device, found in generation.items()})
        clock.raise_if_stopped()
        for device, found in generation.items():
            device.tell(found)
    _require_one(devices)
    stabilise_fronts(
        devices,
        workshop.candidates,
        finalist_recipe=inputs.finalist_recipe,
        prepare=workshop.prepare,
        measure=lambda plans, round: workshop.on_devices(
            {device: _measuring_again(device, plan, round) for device, plan in plans.items()}
        ),
    )
    clock.raise_if_stopped()
    if inputs.test_sha256 is not None:
        workshop.score_on_test(devices)
    for device in devices:
        if not device.is_lost:
            device.complete()
    _require_one(devices)


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


def _measuring(device: DeviceSearch, candidates: Sequence[Candidate]) -> Callable[[], None]:
    return lambda: device.measure(candidates)


def _measuring_again(device: DeviceSearch, candidates: Sequence[Candidate], round: int) -> Callable[[], None]:
    return lambda: device.measure_again(candidates, round)


class _Workshop:
    """What all devices share: the table of candidates, the processes that make them, the threads that measure."""

    def __init__(
        self, inputs: StudyInputs, store: StudyStore, preparation: Preparation, threads: ThreadPoolExecutor
    ) -> None:
        self.candidates: dict[CandidateId, Candidate] = store.candidates()
        self._inputs = inputs
        self._store = store
        self._preparation = preparation
        self._threads = threads

    def prepare(self, genomes: Sequence[Genome], recipe: Recipe) -> list[Candidate]:
        """In order; what is known and whose files are there is not made again."""
        base, data = self._inputs.model_sha256, self._inputs.calibration.sha256
        names = [candidate_id(base, genome, recipe, data) for genome in genomes]
        unknown = {n: g for n, g in zip(names, genomes, strict=True) if not self._is_ready(n)}
        if unknown:
            self._preparation.candidates([(name, genome, recipe) for name, genome in unknown.items()], self._keep)
        return [self.candidates[name] for name in names]

    def on_devices(self, work: Mapping[DeviceSearch, Callable[[], None]]) -> None:
        """Side by side; then, one after the other, those whose numbers the host's own work would spoil."""
        alone = [device for device in work if device.computes_on_the_host]
        together = [self._threads.submit(work[device]) for device in work if device not in alone]
        for future in together:
            future.result()
        for device in alone:
            self._threads.submit(work[device]).result()

    def score_on_test(self, devices: Sequence[DeviceSearch]) -> None:
        """The front members and the dense model; what was scored before is not again."""
        members = (member.candidate for d in devices for member in d.estimates().front(self.candidates))
        names = dict.fromkeys([*(d.batches.anchor.id for d in devices), *members])
        missing = [self.candidates[name] for name in names if self.candidates[name].test_accuracy is None]
        scores = self._preparation.test_scores([c.model_sha256 for c in missing if c.model_sha256 is not None])
        for candidate in missing:
            if candidate.model_sha256 is not None:
                score = scores[candidate.model_sha256]
                self._keep(replace(candidate, test_accuracy=score.value, test_hits=score.hits))

    def _is_ready(self, name: CandidateId) -> bool:
        """A model file that was lost is made again: its bits follow from its row."""
        known = self.candidates.get(name)
        return known is not None and (known.model_sha256 is None or self._has_files(known.model_sha256))

    def _has_files(self, sha256: str) -> bool:
        models = self._inputs.task.models
        return model_file(models, sha256).is_file() and expected_outputs_file(models, sha256).is_file()

    def _keep(self, candidate: Candidate) -> None:
        self._store.save_candidate(candidate)
        self.candidates[candidate.id] = candidate


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
    points = (point for front in read_fronts(config.study).devices for point in (front.dense, *front.front))
    return all(candidate_model(config.study, point.candidate.id).is_file() for point in points)


def _record(
    store: StudyStore, config: StudyConfig, device: DeviceConfig, profilers: Mapping[DeviceName, Profiler]
) -> DeviceRecord:
    """Raises WrongUse for a limit that cannot be kept, StudyError and DeviceError where the device is not as before."""
    info = profilers[DeviceName(device.name)].info
    has_energy = info.meter is not None and info.meter.fault is None
    stored = next((record for record in store.devices() if record.name == device.name), None)
    if stored is not None:
        changed = [name for name in DEVICE_SETTINGS if getattr(stored.config, name) != getattr(device, name)]
        if changed:
            raise StudyError(
                f"{device.name}: {', '.join(changed)} changed since this study began; "
                "restore it or choose another --study"
            )
        if stored.has_energy != has_energy:
            then, now = ("had", "none") if stored.has_energy else ("had no", "one")
            raise DeviceError(
                f"{device.name}: {then} power meter when this study began and has {now} now"
                f"{_fault(info.meter.fault) if info.meter else ''}; put it back or choose another --study"
            )
    wanted = {
        f"--energy {config.search.energy}": config.search.energy,
        "--max-energy-mj": config.search.constraints.max_energy_j,
    }
    if not has_energy and (asked := [flag for flag, value in wanted.items() if value is not None]):
        meter = "has no power meter" if info.meter is None else f"has a meter that does not work ({info.meter.fault})"
        raise WrongUse(f"{device.name}: {' and '.join(asked)} cannot be kept, it {meter}; drop it or the device")
    return DeviceRecord(config=device, info=info, has_energy=has_energy, state=DeviceState.RUNNING)


def _say_what_is_missing(record: DeviceRecord, listener: Listener) -> None:
    if not record.has_energy:
        meter = record.info.meter
        why = _fault(meter.fault) if meter else ""
        text = f"{record.name}: NO POWER METER{why}: energy is no objective on this device, latency and accuracy are"
        listener(StudyNotice(text=text, is_warning=True))


def _fault(fault: str | None) -> str:
    return f" ({fault})" if fault else ""


def _require_one(devices: Sequence[DeviceSearch]) -> None:
    if all(device.is_lost for device in devices):
        reasons = "; ".join(str(device.batches.record.reason) for device in devices)
        raise Failed(f"every device was lost: {reasons}; what was measured is kept, go on with --resume")


def _one_at_a_time(listener: Listener) -> Listener:
    lock = Lock()

    def tell(event: DeviceProgress | StudyNotice) -> None:
        with lock:
            listener(event)

    return tell
