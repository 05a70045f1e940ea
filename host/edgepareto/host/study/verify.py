"""Scoring a study's candidates on a board itself, for who will deploy what runs there and not on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgepareto.host.accuracy import Dataset, metric_by_name
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import LITERT, DeviceFront, FrontPoint, StudyFronts, StudyNotice
from edgepareto.host.domain.verified import Verified, VerifiedDevice
from edgepareto.host.errors import DataError, StudyError, WrongProtocol, WrongUse
from edgepareto.host.export import class_count, input_tensors, pick, read_model
from edgepareto.host.fleet import WAIT_S, lease_owner
from edgepareto.host.fleet import connect as connect_fleet
from edgepareto.host.store import StudyIdentity, StudyStore
from edgepareto.host.study.board_accuracy import BoardModel, board_accuracy
from edgepareto.host.study.fronts import MODELS_FOLDER, read_fronts
from edgepareto.host.study.model_files import files_of, model_file, tensors_file
from edgepareto.host.study.profiler import Connect
from edgepareto.host.study.remeasure import as_reached_today
from edgepareto.host.study.scored_samples import Split, scored_samples, stored_dense

__all__ = ["USUAL_SAMPLES", "board_model", "samples_for_boards", "verify"]

USUAL_SAMPLES = 500  # a difference of two points shows, and a small board needs minutes


def verify(
    study: Path,
    *,
    device: str,
    choice: str | None,
    samples: int | None,
    known: Sequence[DeviceConfig],
    folder: Path,
    listener: Callable[[StudyNotice], None],
    wait_s: float = WAIT_S,
    connect: Connect = connect_fleet,
) -> VerifiedDevice:
    """The study's metric on the device and on the host, by the same files on the same samples.

    choice: an id, which may be shortened, or knee, fastest and so on; None: every member of the device's front.
    samples: of the test split, of validation where there is none, evenly; None: USUAL_SAMPLES, or all of fewer.
    known, folder, wait_s: as for `remeasure`. The result is kept in the study. A candidate that fails there is told in
    its result. Raises StudyError, WrongUse, DataError, DeviceError; DeviceLost where the board does not get to the end.
    """
    front = _front(read_fronts(study), study, device)
    points = list(front.front) if choice is None else [pick(front, choice)]
    if not points:
        raise WrongUse(f"{device}: its front is empty; host front says why, --pick names a candidate")
    if samples is not None and samples < 1:
        raise WrongUse(f"--samples {samples}: wanted 1 or more")
    with StudyStore.open_for_search(study) as store:
        identity = store.identity()
        assert identity is not None, "its front was read"
        models = study / MODELS_FOLDER
        _require_files(models, points)
        split, dataset = samples_for_boards(identity, _onnx_file(models, points[0]), folder, samples)
        dense = stored_dense(models, front.dense.candidate)
        metric = metric_by_name(identity.search.metric, folder=folder, dense=dense)
        files = [board_model(models, front, point) for point in points]
        record = next(record for record in store.devices() if record.name == front.device.name)

        def tell(text: str) -> None:
            listener(StudyNotice(text=text, is_warning=False))

        def on_scored(verified: Verified) -> None:
            tell(f"{device}: {verified.candidate} {verified.failure or 'scored'}")

        config = as_reached_today(record, known)
        owner = lease_owner(str(study.absolute()))
        with connect([config], owner=owner, state=study / "agents", wait_s=wait_s, tell=tell) as profilers:
            profiler = profilers[front.device.name]
            try:
                found = board_accuracy(files, profiler, dataset, metric, on_scored=on_scored)
            except WrongProtocol as error:  # a board that is not set up for what was asked, not one that failed at it
                raise WrongUse(str(error)) from error
            for verified in found:
                store.save_verified(front.device.name, verified)
            return VerifiedDevice(
                device=profiler.info,
                metric=identity.search.metric,
                split=split.value,
                samples=len(dataset),
                candidates=found,
            )


def _front(fronts: StudyFronts, study: Path, device: str) -> DeviceFront:
    found = next((front for front in fronts.devices if front.device.name == device), None)
    if found is None:
        names = ", ".join(front.device.name for front in fronts.devices)
        raise WrongUse(f"device {device} is not in {study}; it has {names}")
    return found


def samples_for_boards(
    identity: StudyIdentity, model: Path, folder: Path, count: int | None = None
) -> tuple[Split, Dataset]:
    """Of the test split, of validation where there is none, evenly; None: USUAL_SAMPLES, or all of fewer.

    Raises DataError, also where the data is no longer what the study was begun with."""
    split = Split.VALIDATION if identity.test_sha256 is None else Split.TEST
    opened = read_model(model)
    dataset = scored_samples(
        split,
        identity.data,
        input_tensors(opened),
        metric=identity.search.metric,
        search_images=identity.search.search_images,
        folder=folder,
        classes=class_count(opened),
    )
    known = identity.test_sha256 if split is Split.TEST else identity.validation_sha256
    if dataset.sha256 != known:
        raise DataError(f"{dataset.source}: is not the {split.value} data that the study was begun with")
    if count is not None and count > len(dataset):
        raise WrongUse(f"--samples {count}: {dataset.source} has {len(dataset)}, wanted 1 to {len(dataset)}")
    return split, dataset.spread(count or USUAL_SAMPLES)


def _require_files(models: Path, points: Sequence[FrontPoint]) -> None:
    for point in points:
        for file in files_of(models, str(point.candidate.model_sha256), point.candidate.genome.deployment):
            if not file.is_file():
                raise StudyError(f"{file}: is gone; delete {models} and make it again with host search --resume")


def _onnx_file(models: Path, point: FrontPoint) -> Path:
    return model_file(models, str(point.candidate.model_sha256))


def board_model(models: Path, front: DeviceFront, point: FrontPoint) -> BoardModel:
    """The file as that device runs it."""
    way, sha256 = front.deployment(point), str(point.candidate.model_sha256)
    file = model_file(models, sha256, way)
    lite = None
    if way.runtime == LITERT:
        from edgepareto.host.export.board_files import read_lite_file  # brings LiteRT

        lite = read_lite_file(file, tensors_file(models, sha256, way))
    return BoardModel(candidate=point.candidate.id, file=file, deployment=way, lite=lite)
