"""How far a model is from the unpruned one on the same samples: a smooth score, for which nobody needs to know a label.

Of a classifier, whose first output is (samples, classes) with two classes or more, the divergence is the mean over the
samples of KL(dense || model) in nats, between the shares that a softmax makes of the outputs; outputs that are shares
already (a Softmax at the end) are taken as they are. Of any other output of floats it is the relative squared error
sum |y - dense|^2 / sum |dense - mean|^2, the mean of each element over the samples: 1 - R^2. It is 0 for the unpruned
model itself, and no number for outputs that are no floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from edgepareto.host.accuracy.dataset import Dataset
from edgepareto.host.accuracy.feed import Array, Feed, Predict
from numpy.typing import NDArray

__all__ = ["Compared", "DenseModel", "DenseOutputs"]

MOST_BYTES = 64 << 20  # kept of the dense outputs on one data set; of larger ones every second, third, ... sample
ROWS_AT_ONCE = 100
ROUNDING = 1e-2  # by which shares may miss 1 in sum: 16 and 8 bits round each
LEAST_TOGETHER = 1e-3  # shares that rounding made 0 count as this, divided by the classes: their logarithm is finite

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseOutputs:
    """The unpruned model's first output on a data set of `samples`.

    shape: of one sample's. classes: (samples,) predicted, None where the output is no classes. kept: (every `stride`-th
    sample, ...), logarithms of the classes' shares, or the outputs themselves; None where they are no finite floats.
    are_shares: of classes, as the model puts them out. deviations: (kept samples,), of each the squared distance from
    the mean; None for classes.
    """

    samples: int
    shape: tuple[int, ...]
    classes: NDArray[np.int64] | None
    stride: int
    rows_at_once: int
    kept: Floats | None
    are_shares: bool
    deviations: Floats | None

    def parts(self, outputs: Array, first: int) -> tuple[float, float]:
        """What these outputs, of the samples from `first` on, add to the divergence: a sum, and what it is to be
        divided by."""
        assert self.kept is not None
        start, stop = -(-first // self.stride), -(-(first + len(outputs)) // self.stride)
        mine = outputs[start * self.stride - first :: self.stride]
        dense = self.kept[start:stop]
        if self.deviations is not None:
            return float(np.sum((mine.astype(np.float64) - dense) ** 2)), float(np.sum(self.deviations[start:stop]))
        return float(np.sum(np.exp(dense) * (dense - _log_shares(mine, self.are_shares)))), float(len(dense))


class DenseModel:
    """The unpruned model, run once on each data set that others are compared on. Not safe for several threads."""

    def __init__(self, load: Callable[[], Predict]) -> None:
        """load: gives its predict function, on one thread."""
        self._load = load
        self._known: dict[tuple[str, int], DenseOutputs] = {}

    def outputs(self, dataset: Dataset) -> DenseOutputs:
        """Raises what running the model raises."""
        key = dataset.sha256, len(dataset)
        if key not in self._known:
            self._known[key] = _observed(self._load(), dataset)
        return self._known[key]


class Compared:
    """A model's predict function that looks at what passes through it beside the unpruned model's outputs.

    It knows which samples it is fed only by what `Dataset.feed` gave, handed on as it is: of other feeds it sees
    nothing. Each call counts, a sample that is fed twice twice.
    """

    def __init__(self, predict: Predict, dense: DenseOutputs) -> None:
        self._predict = predict
        self._dense = dense
        self._sum = self._whole = 0.0
        self._is_comparable = dense.kept is not None

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        outputs = self._predict(inputs)
        if self._is_comparable and isinstance(inputs, Feed) and inputs.rows is not None:
            self._look_at(outputs, inputs.rows)
        return outputs

    @property
    def divergence(self) -> float | None:
        """None before anything was seen, where something could not be compared, and where all dense outputs are one."""
        if not self._is_comparable or self._whole <= 0:
            return None
        found = self._sum / self._whole
        return max(0.0, found) if math.isfinite(found) else None

    def _look_at(self, outputs: Array, rows: range) -> None:
        if outputs.shape != (len(rows), *self._dense.shape):
            self._is_comparable = False
            return
        with np.errstate(all="ignore"):  # outputs that are no numbers make the divergence none
            distance, whole = self._dense.parts(outputs, rows.start)
        self._sum += distance
        self._whole += whole


def _observed(predict: Predict, dataset: Dataset) -> DenseOutputs:
    sample = predict(dataset.feed(slice(0, 1)))
    shape = sample.shape[1:]
    has_classes = sample.dtype.kind == "f" and len(shape) == 1 and shape[0] > 1
    row_bytes = max(1, math.prod(shape)) * np.dtype(np.float64).itemsize
    stride = max(1, -(-len(dataset) * row_bytes // MOST_BYTES))
    rows_at_once = max(1, min(ROWS_AT_ONCE, MOST_BYTES // row_bytes))
    kept: list[Floats] = []
    classes: list[NDArray[np.int64]] = []
    for rows in dataset.chunks(rows_at_once):
        outputs = predict(dataset.feed(rows))
        kept.append(outputs[-rows.start % stride :: stride].astype(np.float64))
        if has_classes:
            classes.append(outputs.argmax(axis=1).astype(np.int64))
    values = np.concatenate(kept)
    is_comparable = sample.dtype.kind == "f" and bool(np.isfinite(values).all())
    are_shares = is_comparable and has_classes and _are_shares(values)
    if is_comparable and has_classes:
        values = _log_shares(values, are_shares)
    return DenseOutputs(
        samples=len(dataset),
        shape=shape,
        classes=np.concatenate(classes) if has_classes else None,
        stride=stride,
        rows_at_once=rows_at_once,
        kept=values if is_comparable else None,
        are_shares=are_shares,
        deviations=None if has_classes else _deviations(values),
    )


def _deviations(values: Floats) -> Floats:
    """(samples,)."""
    distances: Floats = ((values - values.mean(axis=0)) ** 2).reshape(len(values), -1).sum(axis=1)
    return distances


def _are_shares(values: Floats) -> bool:
    return bool((values >= 0).all() and (np.abs(values.sum(axis=1) - 1) <= ROUNDING).all())


def _log_shares(outputs: Array, are_shares: bool) -> Floats:
    """(samples, classes), logarithms of shares that are 1 in sum."""
    values = outputs.astype(np.float64)
    if are_shares:
        values = np.log(np.maximum(values, LEAST_TOGETHER / values.shape[1]))
    values -= values.max(axis=1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
    return values
