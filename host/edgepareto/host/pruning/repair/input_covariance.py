"""What the ranking knows of a layer: the covariance of what it reads, and the part of it that belongs to a group.

The covariance is about zero, not about the mean: a channel that keeps its level, as those behind a ReLU do, is worth
keeping although a bias could stand in for it. Not so the states of a recurrent layer (docs/pruning.md has the figures).
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.importance import Consumer
from edgepareto.host.pruning.layer import Layer, LayerKind
from edgepareto.host.pruning.repair.layer_repair import weight_rows
from edgepareto.host.pruning.repair.patches import PatchSampler
from edgepareto.host.pruning.repair.segments import Chunks
from numpy.typing import NDArray

__all__ = ["channel_covariance", "consumer_of", "input_covariance"]

ROWS = 32_768  # positions used where a covariance is between channels
POSITIONS_PER_IMAGE = 36  # where it is between the taps of patches: with a third of them the order is noisier
WIDEST = 4096  # features of a linear layer with a covariance of their own: 128 MB
LARGEST = 1152  # features with a covariance of their own: 128 channels of a 3 x 3 convolution


def input_covariance(
    layer: Layer, number: int, node: onnx.NodeProto, weight: NDArray[np.generic], chunks: Chunks
) -> NDArray[np.float64]:
    """(features, features). A convolution's features are the taps, channel by channel; of a wide or a grouped one, and
    of a linear layer, they are the channels. Of a linear layer with too many, behind a Flatten: (channels, channels),
    in the order of their numbers, the mean over a channel's copies."""
    if _shares_copies(layer):
        assert layer.inputs is not None, "it has copies of them"
        return _mean_over_copies(layer.inputs, chunks)
    kernel = weight.shape[2:]
    taps = math.prod(kernel) if layer.kind is LayerKind.CONV else 1
    if taps == 1 or taps * chunks[0].shape[1] > LARGEST:
        return channel_covariance(chunks, linear=layer.kind is LayerKind.LINEAR)
    patches = PatchSampler(layer, number, node, kernel, positions=POSITIONS_PER_IMAGE).gather(chunks)
    return _covariance(patches.reshape(len(patches), -1))


def channel_covariance(chunks: Chunks, *, linear: bool, about_mean: bool = False) -> NDArray[np.float64]:
    """(channels, channels). linear: the channels are the last axis, otherwise the one after the batch."""
    sample = _sampled_rows(chunks, linear=linear)
    return _covariance(sample - sample.mean(axis=0) if about_mean else sample)


def _sampled_rows(chunks: Chunks, *, linear: bool) -> NDArray[np.generic]:
    """(rows, channels)."""
    rows = [chunk if linear else np.moveaxis(chunk, 1, -1) for chunk in chunks]
    flat = [part.reshape(-1, part.shape[-1]) for part in rows]
    step = max(1, sum(len(part) for part in flat) // ROWS)
    step += 1 - step % 2  # odd, so that an even image size does not leave out the same columns
    return np.concatenate([part[::step] for part in flat])


def _shares_copies(layer: Layer) -> bool:
    return (
        layer.kind is LayerKind.LINEAR
        and layer.inputs is not None
        and len(layer.inputs) > max(WIDEST, len(np.unique(layer.inputs)))
    )


def _mean_over_copies(inputs: Labels, chunks: Chunks) -> NDArray[np.float64]:
    """Zero between channels of different numbers of copies: they are in no group together."""
    channels, counts = np.unique(inputs, return_counts=True)
    by_channel = np.split(np.argsort(inputs, kind="stable"), np.cumsum(counts)[:-1])
    sample = _sampled_rows(chunks, linear=True)
    shared = np.zeros((len(channels), len(channels)))
    for copies in np.unique(counts):
        alike = np.flatnonzero(counts == copies)
        places = np.stack([by_channel[channel] for channel in alike], axis=1)  # (copies, channels)
        shared[np.ix_(alike, alike)] = _covariance(sample[:, places].reshape(-1, len(alike)))
    return shared


def consumer_of(
    layer: Layer,
    weight: NDArray[np.generic],
    covariance: NDArray[np.float64],
    output_variance: float,
    sensitivity: float,
    classes: Labels,
) -> Consumer | None:
    """The layer restricted to these channels, one cell of a group; None where it does not read all of them alike."""
    places = _places(layer, classes)
    if places is None or layer.inputs is None:
        return None
    is_shared = _shares_copies(layer)
    features = 1 if is_shared else len(covariance) // len(layer.inputs)  # per channel
    rows = weight_rows(weight, layer).astype(np.float64)
    within = places
    if layer.groups > 1:
        part, within = np.divmod(places, rows.shape[1])
        if part.min() != part.max():
            return None
        rows = np.split(rows, layer.groups)[int(part[0, 0])]
    channels, copies = places.shape
    of_group = rows[:, within].transpose(1, 2, 3, 0)  # (channels, copies, taps, outputs)
    if features == 1:  # the taps are alike: as if each had outputs of its own
        of_group = of_group.reshape(channels, copies, 1, -1)
    indices = places[:, :, None] * features + np.arange(features)
    if is_shared:
        of_group = of_group.transpose(0, 2, 1, 3).reshape(channels, 1, -1)
        index = np.searchsorted(np.unique(layer.inputs), classes)
        shared = covariance[np.ix_(index, index)]
    elif channels * copies * features > LARGEST and copies > 1:  # Flatten: the mean over the copies, alike too
        of_group = of_group.transpose(0, 2, 1, 3).reshape(channels, features, -1)
        per_copy = [indices[:, copy].reshape(-1) for copy in range(copies)]
        shared = np.mean([covariance[np.ix_(index, index)] for index in per_copy], axis=0)
    else:
        of_group = of_group.reshape(channels, copies * features, -1)
        index = indices.reshape(-1)
        shared = covariance[np.ix_(index, index)]
    return Consumer(
        weights=of_group.transpose(2, 0, 1),
        covariance=shared,
        output_variance=output_variance,
        sensitivity=sensitivity,
    )


def _places(layer: Layer, classes: Labels) -> NDArray[np.int64] | None:
    """(channels, copies): where each channel of the group stands among the layer's input features; None: nowhere."""
    if layer.inputs is None:
        return None
    places = [np.flatnonzero(layer.inputs == index) for index in classes]
    copies = len(places[0])
    return np.stack(places) if copies and all(len(found) == copies for found in places) else None


def _covariance(rows: NDArray[np.generic]) -> NDArray[np.float64]:
    single = np.asarray(rows, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        products: NDArray[np.float64] = (single.T @ single).astype(np.float64)
    if not np.isfinite(products).all():
        products = single.T.astype(np.float64) @ single
    return products / len(single)
