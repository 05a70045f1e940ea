"""How good candidates are on a board itself, beside the host, by the same files on the same samples.

In 8 bits the two need not agree: an x86 processor without VNNI saturates where an Arm one does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

import numpy as np
from edgepareto.host.accuracy import Dataset, Metric, predictor
from edgepareto.host.domain import CandidateId, Deployment
from edgepareto.host.domain.paired_accuracy import accuracy_difference
from edgepareto.host.domain.verified import Verified
from edgepareto.host.errors import EvaluationError
from edgepareto.host.export import input_tensors, read_model, write_arrays
from edgepareto.host.export.parity import lite_outputs, onnx_outputs
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgepareto.host.export.tflite import LiteModel

__all__ = ["BoardModel", "ComputesOutputs", "board_accuracy", "predictor_on"]

REQUEST_BYTES = 32 << 20  # inputs and outputs of one request, which a board holds twice beside the model

Array = NDArray[np.generic]
Feed = Mapping[str, Array]
Shape = Sequence["int | str | None"]


class ComputesOutputs(Protocol):
    """What is needed of a connected device; the fleet's client is one."""

    def outputs(
        self, model: Path, inputs: Path, deployment: Deployment, on_progress: Callable[[str], None] = ...
    ) -> Mapping[str, Array]:
        """By output, row i of what row i of the inputs (.npz) gave. Raises EvaluationError where the model fails there,
        WrongProtocol, DeviceLost."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardModel:
    """file: as the board gets it. lite: of a .tflite file, its content with how its tensors lie beside ONNX's."""

    candidate: CandidateId
    file: Path
    deployment: Deployment
    lite: LiteModel | None = None


def board_accuracy(
    models: Sequence[BoardModel],
    device: ComputesOutputs,
    dataset: Dataset,
    metric: Metric,
    *,
    on_scored: Callable[[Verified], None] = lambda verified: None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> tuple[Verified, ...]:
    """Each model's score on the device beside that on the host, on all samples of the dataset.

    A model that fails is told in its result. on_scored: each as soon as it is there. Raises WrongProtocol where the
    agent computes no outputs, DeviceLost, and DataError where the metric does not fit.
    """
    found = []
    for model in models:
        verified = _verified(model, device, dataset, metric, on_progress)
        on_scored(verified)
        found.append(verified)
    return tuple(found)


def predictor_on(
    model: BoardModel, device: ComputesOutputs, on_progress: Callable[[str], None] = lambda text: None
) -> Callable[[Mapping[str, Array]], Array]:
    """The model as `accuracy.predictor` gives it, run on the device. Calls of it raise as `outputs` does."""
    if model.lite is None:
        shapes: dict[str, Shape] = {tensor.name: tensor.shape for tensor in input_tensors(read_model(model.file))}
    else:
        shapes = {
            name: [tensor.shape[axis] for axis in np.argsort(tensor.order)]
            for name, tensor in model.lite.inputs.items()
        }

    def predict(inputs: Mapping[str, Array]) -> Array:
        samples = len(next(iter(inputs.values())))
        if any(array.ndim - 1 == len(shapes[name]) for name, array in inputs.items()):  # without a batch axis
            rows = _outputs(model, device, [_single(inputs, i, shapes) for i in range(samples)], on_progress)
            return np.stack([row[0] if row.ndim > 1 and row.shape[0] == 1 else row for row in rows])
        size = next((shape[0] for shape in shapes.values() if isinstance(shape[0], int)), 1)
        places = (np.minimum(np.arange(start, start + size), samples - 1) for start in range(0, samples, size))
        runs = [{name: array[rows] for name, array in inputs.items()} for rows in places]
        return np.concatenate(_outputs(model, device, runs, on_progress))[:samples]

    return predict


def _verified(
    model: BoardModel,
    device: ComputesOutputs,
    dataset: Dataset,
    metric: Metric,
    on_progress: Callable[[str], None],
) -> Verified:
    nothing = Verified(
        candidate=model.candidate, deployment=model.deployment, on_host=None, on_board=None, samples=len(dataset)
    )
    try:  # one sample a run, as the board does it
        host = metric(predictor(model.lite or model.file, batch=1), dataset)
    except EvaluationError as error:
        return replace(nothing, failure=f"on the host: {error}")
    try:
        board = metric(predictor_on(model, device, on_progress), dataset)
    except EvaluationError as error:
        return replace(nothing, on_host=host.value, failure=str(error))
    difference = accuracy_difference(board.hits, host.hits)
    return replace(nothing, on_host=host.value, on_board=board.value, difference=difference)


def _outputs(
    model: BoardModel, device: ComputesOutputs, runs: Sequence[Feed], on_progress: Callable[[str], None]
) -> list[Array]:
    """The first output of each run, in ONNX's order of axes."""
    sample = _on_host(model, runs[0])
    first = next(iter(sample))
    run_bytes = sum(array.nbytes for array in (*runs[0].values(), *sample.values()))
    at_once = max(1, REQUEST_BYTES // max(run_bytes, 1))
    found: list[Array] = []
    with TemporaryDirectory(prefix="edgepareto-") as folder:
        inputs = Path(folder) / "inputs.npz"
        for start in range(0, len(runs), at_once):
            asked = [_as_the_file_has_it(model, run) for run in runs[start : start + at_once]]
            write_arrays(inputs, {name: np.stack([run[name] for run in asked]) for name in asked[0]})
            seen = device.outputs(model.file, inputs, model.deployment, on_progress)
            if first not in seen or len(seen[first]) != len(asked):
                shapes = {name: array.shape for name, array in seen.items()}
                raise EvaluationError(
                    f"the board gave outputs of shapes {shapes}, wanted {first} with {len(asked)} rows; it runs "
                    "another model"
                )
            found += [row if model.lite is None else model.lite.output_of(first, row) for row in seen[first]]
    wrong = next((row.shape for row in found if row.shape != sample[first].shape), None)
    if wrong is not None:
        raise EvaluationError(f"output {first} has shape {wrong} on the board, {sample[first].shape} on the host")
    return found


def _on_host(model: BoardModel, run: Feed) -> Feed:
    """All outputs of one run: their order and size."""
    if model.lite is None:
        return onnx_outputs(model.file.read_bytes(), [run])[0]
    outputs = lite_outputs(model.lite, [run])[0]
    return {name: outputs[name] for name in model.lite.outputs}


def _as_the_file_has_it(model: BoardModel, run: Feed) -> Feed:
    return run if model.lite is None else {name: model.lite.input_of(name, run[name]) for name in model.lite.inputs}


def _single(inputs: Mapping[str, Array], index: int, shapes: Mapping[str, Shape]) -> Feed:
    """Sample `index` as the model takes it: the row itself, or with a batch axis of 1 where the input has one."""
    return {
        name: array[index] if array.ndim - 1 == len(shapes[name]) else array[index : index + 1]
        for name, array in inputs.items()
    }
