"""Scoring with ONNX Runtime on the host: one thread, so that the same file gives the same number anywhere, any time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from edgepareto.host.accuracy.dataset import Array, Dataset
from edgepareto.host.accuracy.metrics import Metric, Predict, Score
from edgepareto.host.errors import EvaluationError
from edgepareto.host.pruning.inference import ORT_ERRORS, open_session

__all__ = ["predictor", "score"]


def score(model: bytes | Path, dataset: Dataset, metric: Metric, *, batch: int = 100) -> Score:
    """The metric of a model on a dataset. Deterministic: one thread, fixed batches.

    Raises EvaluationError where ONNX Runtime refuses the model, and what the metric raises.
    """
    return metric(predictor(model, batch=batch), dataset)


def predictor(model: bytes | Path, *, batch: int = 100) -> Predict:
    """The model as a function of any number of samples, run `batch` at a time where its batch axis is symbolic.

    A fixed batch axis is filled by repeating the last sample, whose outputs are dropped. An input without a batch axis
    is run sample by sample.
    """
    try:
        session = open_session(model)
    except ORT_ERRORS as error:
        raise EvaluationError(f"ONNX Runtime does not load the model: {_first_line(error)}") from error
    shapes: dict[str, list[int | str | None]] = {value.name: value.shape for value in session.get_inputs()}
    output = session.get_outputs()[0].name

    def run(feed: Mapping[str, Array]) -> Array:
        try:
            return np.asarray(session.run([output], dict(feed))[0])
        except ORT_ERRORS as error:
            raise EvaluationError(f"ONNX Runtime failed on the model: {_first_line(error)}") from error

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


def _whole_row(array: Array, index: int, shape: list[int | str | None]) -> Array:
    """Sample `index` as the input takes it: the row itself, or with a batch axis of 1 where the input has one."""
    return array[index] if array.ndim - 1 == len(shape) else array[index : index + 1]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
