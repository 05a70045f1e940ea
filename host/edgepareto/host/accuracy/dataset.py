"""Samples that fit a model: where they come from, and every check before the first of them is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from edgepareto.host.accuracy.feed import Array, Feed
from edgepareto.host.accuracy.sources import read_arrays
from edgepareto.host.config import DataConfig
from edgepareto.host.errors import DataError
from numpy.typing import DTypeLike, NDArray

__all__ = ["TEACHING", "Dataset", "InputSpec", "load_dataset", "uniform_dataset"]

SAMPLES_TO_REPAIR = 500  # docs/pruning.md
FEWEST_TO_REPAIR = 64  # below it a repair follows the noise of the samples

IMAGE_AXES = 4
LabelPurpose = tuple[str, str]  # what labels are for, and how to do without: of the error where there are none
SCORING: LabelPurpose = ("scoring", "--metric agreement needs none")
TEACHING: LabelPurpose = ("--distil-labels (--labels of host distil)", "without it distillation needs none")


class InputSpec(Protocol):
    """One input of a model. shape: int where known, None or a name where symbolic; dtype: anything numpy takes."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Sequence[int | str | None]: ...
    @property
    def dtype(self) -> DTypeLike: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Checked samples, as stored; the first axis of every array and of `labels` is the sample.

    batches: per input how many rows one run of the model takes: a number where its batch axis is fixed, 1 where it is
    symbolic (a board measures one), 0 where the input has no batch axis and a row is the whole input.
    sha256: of the arrays' contents, so that a copy of the file is the same data.
    """

    source: str
    inputs: Mapping[str, Array]
    labels: NDArray[np.int64] | None
    dtypes: Mapping[str, np.dtype[np.generic]]
    batches: Mapping[str, int]
    scale: float
    offset: float
    sha256: str

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def feed(self, rows: slice) -> Feed:
        """These samples as the model takes them; the first axis stays the sample.

        scale and offset apply where integers are stored and the model takes floats; floats are taken as they are.
        """
        arrays = {name: self._as_input(array[rows], self.dtypes[name]) for name, array in self.inputs.items()}
        return Feed(arrays, range(len(self))[rows])

    def doubts(self) -> tuple[str, ...]:
        """What a user of these samples as calibration may have forgotten, one line each."""
        few = f"{self.source}: holds only {len(self)} samples; about {SAMPLES_TO_REPAIR} repair well"
        return (*self.scale_doubts(), *([few] if len(self) < FEWEST_TO_REPAIR else []))

    def scale_doubts(self) -> tuple[str, ...]:
        """Of `doubts`, those of numbers that the model may not have been trained on."""
        found = []
        for name, array in self.inputs.items():
            is_scaled = (self.scale, self.offset) != (1.0, 0.0)
            if array.dtype.kind in "iu" and self.dtypes[name].kind == "f" and not is_scaled and array.size:
                found.append(
                    f"{self.source}: {name} holds whole numbers up to {array.max()}, fed as they are; if the model was "
                    'trained on others, set scale (such as "1/255") and offset under [data] in edgepareto.toml'
                )
        return tuple(found)

    def chunks(self, size: int = 500) -> Iterator[slice]:
        """Slices that together cover every sample once, so that no metric needs all inputs in memory as floats."""
        return (slice(start, min(start + size, len(self))) for start in range(0, len(self), size))

    def run_feed(self, index: int) -> dict[str, Array]:
        """What one run of the model is fed for sample `index`, with its batch axis; a fixed batch repeats the end."""
        feed = {}
        for name, array in self.inputs.items():
            batch = self.batches[name]
            rows = np.minimum(np.arange(index * max(batch, 1), (index + 1) * max(batch, 1)), len(self) - 1)
            values = self._as_input(array[rows], self.dtypes[name])
            feed[name] = values[0] if batch == 0 else values
        return feed

    def run_feeds(self, most: int) -> list[dict[str, Array]]:
        """Of the first runs, `run_feed` each: at most that many, and none that only repeats the last sample."""
        runs = -(-len(self) // max(1, *self.batches.values()))
        return [self.run_feed(index) for index in range(min(most, runs))]

    def first(self, count: int) -> Dataset:
        """The first `count` samples, all where there are fewer."""
        return self._only(slice(count))

    def spread(self, count: int) -> Dataset:
        """`count` samples evenly from the first to the last, for data may be sorted by class; all where there are
        fewer."""
        count = min(count, len(self))
        return self._only(np.arange(count) * len(self) // count)

    def apart(self, count: int) -> tuple[Dataset, Dataset]:
        """`spread(count)`, and all the others."""
        others = np.ones(len(self), dtype=bool)
        others[np.arange(count) * len(self) // count] = False
        return self.spread(count), self._only(np.flatnonzero(others))

    def _only(self, rows: slice | NDArray[np.intp]) -> Dataset:
        kept = {name: array[rows] for name, array in self.inputs.items()}
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, inputs=kept, labels=labels, sha256=_content_hash(kept, labels))

    def _as_input(self, array: Array, dtype: np.dtype[np.generic]) -> Array:
        if array.dtype.kind in "iub" and dtype.kind == "f":
            array = array.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        return np.ascontiguousarray(array, dtype=dtype)


def load_dataset(
    source: str,
    data: DataConfig,
    inputs: Sequence[InputSpec],
    *,
    folder: Path,
    labelled: bool,
    purpose: LabelPurpose = SCORING,
    classes: int | None = None,
) -> Dataset:
    """Read an .npz, a folder of images by class, or what `module:function` returns, and check it against the model.

    folder: what a relative path, or a user's module, is relative to. classes: labels must lie in 0..classes-1.
    purpose: what they are for. Raises DataError for a missing or unreadable source, and for missing keys, wrong shapes,
    types, label ranges, NaN.
    """
    arrays = read_arrays(source, inputs, folder=folder)
    shapes = dict(data.shapes)
    kept = {
        spec.name: _fitting(
            source, spec, shapes.get(spec.name, tuple(spec.shape)), _array_of(source, arrays, spec, inputs), data
        )
        for spec in inputs
    }
    lengths = {name: len(array) for name, array in kept.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{source}: every key needs the same number of samples, it has {lengths}")
    if 0 in lengths.values():
        raise DataError(f"{source}: holds no sample; at least one is needed")
    labels = _labels(source, arrays, next(iter(lengths.values())), classes, purpose) if labelled else None
    return Dataset(
        source=source,
        inputs=kept,
        labels=labels,
        dtypes={spec.name: np.dtype(spec.dtype) for spec in inputs},
        batches={spec.name: _batch(shapes.get(spec.name, tuple(spec.shape)), kept[spec.name]) for spec in inputs},
        scale=data.scale,
        offset=data.offset,
        sha256=_content_hash(kept, labels),
    )


def uniform_dataset(inputs: Sequence[InputSpec], *, count: int, seed: int = 0) -> Dataset:
    """Made-up samples for a model that must only be run: floats uniform in [0, 1), integers 0 or 1; unlabelled.

    Every size but the first axis must be known.
    """
    random = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for spec in inputs:
        shape = tuple(size for size in spec.shape[1:] if isinstance(size, int))
        assert len(shape) == len(spec.shape) - 1, "checked by require_known_shapes"
        dtype = np.dtype(spec.dtype)
        rows = count * (spec.shape[0] if isinstance(spec.shape[0], int) else 1)
        arrays[spec.name] = (
            random.random((rows, *shape), dtype=np.float32).astype(dtype)
            if dtype.kind == "f"
            else random.integers(0, 2, (rows, *shape)).astype(dtype)
        )
    return Dataset(
        source="uniform",
        inputs=arrays,
        labels=None,
        dtypes={spec.name: np.dtype(spec.dtype) for spec in inputs},
        batches={spec.name: _batch(spec.shape, arrays[spec.name]) for spec in inputs},
        scale=1.0,
        offset=0.0,
        sha256=_content_hash(arrays, None),
    )


def _array_of(source: str, arrays: Mapping[str, Array], spec: InputSpec, inputs: Sequence[InputSpec]) -> Array:
    keys = [spec.name, "x"] if len(inputs) == 1 else [spec.name]
    for key in keys:
        if key in arrays:
            return arrays[key]
    wanted = "x (the samples)" if len(inputs) == 1 else f"one key per input: {', '.join(i.name for i in inputs)}"
    raise DataError(f"{source}: no key {keys[-1]}; it has {', '.join(arrays) or 'no keys'}, it needs {wanted}")


def _fitting(source: str, spec: InputSpec, shape: Sequence[int | str | None], array: Array, data: DataConfig) -> Array:
    """The array in the model's axis order; DataError where its type, shape or values cannot be the input."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind not in "iufb":  # bfloat16, texts
        raise DataError(
            f"{source}: {spec.name} is {dtype} in the model, which no sample can be; give it a float32 input"
        )
    if array.dtype.kind not in "iuf":
        raise DataError(f"{source}: {spec.name} holds {array.dtype}, the model takes {dtype}; store numbers")
    if array.dtype.kind == "f" and dtype.kind != "f":
        raise DataError(f"{source}: {spec.name} holds {array.dtype}, the model takes {dtype}; store integers")
    if array.ndim == 0:
        raise DataError(f"{source}: {spec.name} is one number; its first axis must be the samples")
    if data.layout == "NHWC" and array.ndim == IMAGE_AXES:
        array = np.moveaxis(array, -1, 1)
    if not _fits(array.shape[1:], shape):
        swapped = array.ndim == IMAGE_AXES and _fits((array.shape[3], *array.shape[1:3]), shape)
        hint = '; if the axes are swapped set layout = "NHWC" under [data]' if swapped else ""
        if data.layout == "NHWC" and array.ndim == IMAGE_AXES:
            hint = ' (after the axes were swapped, because layout = "NHWC" under [data])'
        wanted = "(" + ", ".join(str(d) if isinstance(d, int) else "any" for d in shape) + ")"
        raise DataError(f"{source}: {spec.name} has shape {array.shape}, the model takes {wanted}{hint}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array.reshape(len(array), -1)).all(axis=1)))
        raise DataError(
            f"{source}: {spec.name} holds NaN or infinity, first in row {row}; remove or repair that sample"
        )
    if dtype.kind == "f" and array.dtype != dtype and array.size:
        largest = _largest(array, data)
        if largest > float(np.finfo(dtype).max):
            raise DataError(
                f"{source}: {spec.name} holds {largest:g}, more than the model's {dtype} can hold; scale it"
            )
    return array


def _largest(array: Array, data: DataConfig) -> float:
    """Of what the model is fed, whatever its sign."""
    ends = (float(array.min()), float(array.max()))
    return max(abs(end if array.dtype.kind == "f" else end * data.scale + data.offset) for end in ends)


def _fits(row: tuple[int, ...], shape: Sequence[int | str | None]) -> bool:
    """A row is the whole input, or the input without its batch axis."""
    wanted = shape if len(row) == len(shape) else shape[1:] if len(row) == len(shape) - 1 else None
    return wanted is not None and all(not isinstance(w, int) or w == d for d, w in zip(row, wanted, strict=True))


def _batch(shape: Sequence[int | str | None], array: Array) -> int:
    if array.ndim - 1 == len(shape):
        return 0
    first = shape[0]
    return first if isinstance(first, int) else 1


def _labels(
    source: str, arrays: Mapping[str, Array], samples: int, classes: int | None, purpose: LabelPurpose
) -> NDArray[np.int64]:
    if "y" not in arrays:
        what, instead = purpose
        raise DataError(f"{source}: no key y; {what} needs labels, it has {', '.join(arrays)}; {instead}")
    if arrays["y"].dtype.kind not in "iu":
        raise DataError(f"{source}: y holds {arrays['y'].dtype}; labels are integers, the index of the class")
    labels = arrays["y"].astype(np.int64)
    if labels.shape != (samples,):
        raise DataError(f"{source}: y has shape {labels.shape}; one label per sample is ({samples},)")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes is not None and high >= classes):
        row = int(np.argmax((labels < 0) | (labels >= (classes or high + 1))))
        allowed = f"0 to {classes - 1}, the model gives {classes} classes" if classes else "0 or more"
        raise DataError(f"{source}: y holds {int(labels[row])} in row {row}; allowed is {allowed}")
    return labels


def _content_hash(inputs: Mapping[str, Array], labels: Array | None) -> str:
    digest = hashlib.sha256()
    for name, array in [*sorted(inputs.items()), *([] if labels is None else [("y", labels)])]:
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
