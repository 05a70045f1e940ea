"""Scoring on the host, with the runtime that the file is for: one thread, so that the same file gives the same number
anywhere, any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from edgepareto.host.accuracy.dataset import Dataset
from edgepareto.host.accuracy.dense_model import Compared, DenseModel
from edgepareto.host.accuracy.feed import Array, Predict
from edgepareto.host.accuracy.metrics import Metric, Score
from edgepareto.host.errors import EvaluationError
from edgepareto.host.pruning.inference import ORT_ERRORS, open_lite, open_session

__all__ = ["LiteFile", "predictor", "score"]

Shape = Sequence["int | str | None"]
Run = Callable[[Mapping[str, Array]], Array]


class LiteTensor(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def order(self) -> tuple[int, ...]: ...


class LiteFile(Protocol):
    """A .tflite file, and how its tensors lie beside those of the ONNX model that it was made from."""

    @property
    def content(self) -> bytes: ...
    @property
    def inputs(self) -> Mapping[str, LiteTensor]: ...
    @property
    def outputs(self) -> Mapping[str, LiteTensor]: ...
    def input_of(self, name: str, value: Array) -> Array: ...
    def output_of(self, name: str, value: Array) -> Array: ...


def score(
    model: bytes | Path | LiteFile,
    dataset: Dataset,
    metric: Metric,
    *,
    batch: int = 100,
    dense: DenseModel | None = None,
) -> Score:
    """The metric of a model on a dataset: an .onnx file in ONNX Runtime, a .tflite file in LiteRT. Deterministic: one
    thread, fixed batches.

    dense: whose divergence is told as well, from the same outputs. Raises EvaluationError where the runtime refuses the
    model, and what the metric raises.
    """
    predict = predictor(model, batch=batch)
    if dense is None:
        return metric(predict, dataset)
    compared = Compared(predict, dense.outputs(dataset))
    found = metric(compared, dataset)
    return replace(found, divergence=compared.divergence)


def predictor(model: bytes | Path | LiteFile, *, batch: int = 100) -> Predict:
    """The model as a function of any number of samples, run `batch` at a time where its batch axis is symbolic.

    A fixed batch axis is filled by repeating the last sample, whose outputs are dropped. An input without a batch axis
    is run sample by sample. A .tflite file takes and gives what its ONNX model does.
    """
    run, shapes = _of_onnx(model) if isinstance(model, (bytes, Path)) else _of_lite(model)

    def predict(inputs: Mapping[str, Array]) -> Array:
        samples = len(next(iter(inputs.values())))
        if any(array.ndim - 1 == len(shapes[name]) for name, array in inputs.items()):
            rows = [
                run({name: _whole_row(array, i, shapes[name]) for name, array in inputs.items()})
                for i in range(samples)
            ]
            return np.stack([r[0] if r.ndim > 1 and r.shape[0] == 1 else r for r in rows])
        fixed = next((shape[0] for shape in shapes.values() if isinstance(shape[0], int)), None)
        size = fixed or batch
        outputs = []
        for start in range(0, samples, size):
            wanted = np.arange(start, start + size if fixed else min(start + size, samples))
            feed = {name: array[np.minimum(wanted, samples - 1)] for name, array in inputs.items()}
            outputs.append(run(feed)[: min(size, samples - start)])
        return np.concatenate(outputs)

    return predict


def _of_onnx(model: bytes | Path) -> tuple[Run, Mapping[str, Shape]]:
    """How one run goes, to the first output, and the inputs' shapes."""
    try:
        session = open_session(model)
    except ORT_ERRORS as error:
        raise EvaluationError(f"ONNX Runtime does not load the model: {_first_line(error)}") from error
    output = session.get_outputs()[0].name

    def run(feed: Mapping[str, Array]) -> Array:
        try:
            return np.asarray(session.run([output], dict(feed))[0])
        except ORT_ERRORS as error:
            raise EvaluationError(f"ONNX Runtime failed on the model: {_first_line(error)}") from error

    return run, {value.name: value.shape for value in session.get_inputs()}


def _of_lite(lite: LiteFile) -> tuple[Run, Mapping[str, Shape]]:
    """As `_of_onnx`, in the ONNX model's order of axes."""
    try:
        interpreter = open_lite(lite.content)
        signature = interpreter.get_signature_runner()
    except (RuntimeError, ValueError) as error:
        raise EvaluationError(f"LiteRT does not load the model: {_first_line(error)}") from error
    places = {name: int(one["index"]) for name, one in signature.get_input_details().items()}
    first = next(iter(lite.outputs))
    output = int(signature.get_output_details()[first]["index"])
    has_state = any(
        "SEQUENCE" in str(node["op_name"]) for node in interpreter._get_ops_details()
    )  # the only way to ask

    def run(feed: Mapping[str, Array]) -> Array:
        try:
            if has_state:  # an LSTM's outlives an inference
                interpreter.reset_all_variables()
            for name, place in places.items():
                interpreter.set_tensor(place, lite.input_of(name, feed[name]))
            interpreter.invoke()
            return lite.output_of(first, interpreter.get_tensor(output))
        except (RuntimeError, ValueError) as error:
            raise EvaluationError(f"LiteRT failed on the model: {_first_line(error)}") from error

    return run, {
        name: [tensor.shape[axis] for axis in np.argsort(tensor.order)] for name, tensor in lite.inputs.items()
    }


def _whole_row(array: Array, index: int, shape: Shape) -> Array:
    """Sample `index` as the input takes it: the row itself, or with a batch axis of 1 where the input has one."""
    return array[index] if array.ndim - 1 == len(shape) else array[index : index + 1]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
