"""Operators that only rearrange."""

from __future__ import annotations

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.operators.builtin import chosen
from edgepareto.host.export.tflite.placement import Placed, moves_nothing, plain, reshape_runs
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.pruning.normal_form import int_attribute, ints_attribute, text_attribute

__all__ = ["reshape", "transpose"]


@converts("Transpose")
def transpose(c: Conversion, node: onnx.NodeProto) -> None:
    """Costs nothing here: the same bytes under other names."""
    x = c.placed(node.input[0])
    permutation = ints_attribute(node, "perm") or list(range(len(x.shape)))[::-1]
    c.give(node.output[0], x.tensor, tuple(permutation.index(axis) for axis in x.order))


@converts("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(c: Conversion, node: onnx.NodeProto) -> None:
    """Neighbouring axes become other neighbouring axes; only inside of such a run must the order be ONNX's."""
    name, shape = node.output[0], c.shape(node.output[0])
    x = c.placed(node.input[0])
    runs = reshape_runs(x.shape, shape)
    runs.sort(key=lambda run: _place(run[0], x))
    needed = tuple(axis for before, _ in runs for axis in before)
    order = tuple(axis for _, after in runs for axis in after)
    stored = [shape[axis] for axis in order]
    if not moves_nothing(x.shape, x.order, needed) and shape[0] == x.shape[0] and len(shape) == 2:
        c.remember_flattened(name, x)
    c.give(name, c.rearranged(x, needed, stored), order)


def _place(run: tuple[int, ...], x: Placed) -> int:
    """Where in memory the first of its axes lies, of those with a size; new axes of size 1 come last."""
    places = {axis: place for place, axis in enumerate(x.order)}
    sized = [places[axis] for axis in run if x.shape[axis] != 1] or [places[axis] for axis in run]
    return min(sized, default=len(places))


@converts("Expand", "Tile")
def repeat(c: Conversion, node: onnx.NodeProto) -> None:
    x, shape = c.placed(node.input[0]), c.shape(node.output[0])
    rank = len(shape)
    source = c.in_rank(node.input[0], plain(rank))
    before = c.flat.tensors[source].shape
    times = np.array([after // size for after, size in zip(shape, before, strict=True)], np.int32)
    if (times == 1).all():
        c.give_plain(node.output[0], c.reshaped_copy(source, shape))
        return
    made = c.compute(
        "TILE", [source, c.flat.constant(times, "times")], shape, c.dtype_of(x.tensor), schema.TileOptionsT()
    )
    c.give_plain(node.output[0], made)


@converts("DepthToSpace")
def depth_to_space(c: Conversion, node: onnx.NodeProto) -> None:
    """TFLite's channels are ONNX's of mode DCR."""
    options = schema.DepthToSpaceOptionsT()
    options.blockSize = block = int_attribute(node, "blocksize", 1)
    n, channels, height, width = c.shape(node.output[0])
    image = c.channels_last(node.input[0])
    if text_attribute(node, "mode", "DCR") == "CRD":
        image = chosen(c, image, np.arange(channels * block**2).reshape(channels, -1).T.ravel(), 3)
    made = c.compute("DEPTH_TO_SPACE", [image], (n, height, width, channels), "float32", options)
    c.give_channels_last(node.output[0], made)


@converts("SpaceToDepth")
def space_to_depth(c: Conversion, node: onnx.NodeProto) -> None:
    """As above; a mode there is since opset 28."""
    options = schema.SpaceToDepthOptionsT()
    options.blockSize = block = int_attribute(node, "blocksize", 1)
    n, channels, height, width = c.shape(node.output[0])
    image = c.channels_last(node.input[0])
    made = c.compute("SPACE_TO_DEPTH", [image], (n, height, width, channels), c.dtype_of(image), options)
    if text_attribute(node, "mode", "DCR") == "CRD":
        made = chosen(c, made, np.arange(channels).reshape(block**2, -1).T.ravel(), 3)
    c.give_channels_last(node.output[0], made)
