"""The end of a search: finalists in 8 bits are scored on their boards as well, whose arithmetic is not the host's.

A simulated board computes with the host's own processor and would only say the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgepareto.host.accuracy import metric_by_name
from edgepareto.host.domain import DeviceFront, DeviceName, FrontPoint, StudyNotice
from edgepareto.host.domain.verified import Verified
from edgepareto.host.errors import DeviceError
from edgepareto.host.store import StudyIdentity, StudyStore
from edgepareto.host.study.board_accuracy import board_accuracy
from edgepareto.host.study.fronts import MODELS_FOLDER, read_fronts
from edgepareto.host.study.model_files import model_file
from edgepareto.host.study.profiler import Profiler
from edgepareto.host.study.scored_samples import stored_dense
from edgepareto.host.study.verify import board_model, samples_for_boards

__all__ = ["score_on_boards"]


def score_on_boards(
    store: StudyStore,
    identity: StudyIdentity,
    study: Path,
    folder: Path,
    profilers: Mapping[DeviceName, Profiler],
    tell: Callable[[StudyNotice], None],
) -> None:
    """Of every device that is there, those of its front that were not scored on it yet.

    What a board cannot do costs no result of the search: it is told. folder: as for `verify`. Raises DataError where
    the data is no longer what the study was begun with.
    """
    for front in read_fronts(study).devices if profilers else ():
        profiler = profilers.get(front.device.name)
        if profiler is None or front.device.simulated:
            continue
        known = store.verified(front.device.name)
        points = [point for point in front.front if _is_in_8_bits(point) and point.candidate.id not in known]
        if points:
            _score(store, identity, study, folder, front, points, profiler, tell)


def _score(
    store: StudyStore,
    identity: StudyIdentity,
    study: Path,
    folder: Path,
    front: DeviceFront,
    points: list[FrontPoint],
    profiler: Profiler,
    tell: Callable[[StudyNotice], None],
) -> None:
    name, models = front.device.name, study / MODELS_FOLDER
    _, dataset = samples_for_boards(identity, model_file(models, str(points[0].candidate.model_sha256)), folder)
    tell(StudyNotice(text=f"{name}: scoring {len(points)} int8 finalists on the board itself, {len(dataset)} samples"))

    def keep(found: Verified) -> None:
        store.save_verified(name, found)

    try:
        files = [board_model(models, front, point) for point in points]
        dense = stored_dense(models, front.dense.candidate)
        metric = metric_by_name(identity.search.metric, folder=folder, dense=dense)
        board_accuracy(files, profiler, dataset, metric, on_scored=keep)
    except DeviceError as error:
        text = f"{name}: its int8 finalists were not scored on the board: {error}; host verify --device {name} does it"
        tell(StudyNotice(text=text, is_warning=True))


def _is_in_8_bits(point: FrontPoint) -> bool:
    return point.candidate.genome.deployment.precision == "int8"
