"""Parts of tensors, and tensors of parts."""

from __future__ import annotations

import math

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion
from edgepareto.host.export.tflite.operators.builtin import chosen
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute, ints_attribute, text_attribute

__all__ = ["concatenate", "cut", "pad", "split"]


@converts("Concat")
def concatenate(c: Conversion, node: onnx.NodeProto) -> None:
    shape = c.shape(node.output[0])
    order = c.common_order(node.input)
    parts = [name for name in node.input if 0 not in c.shape(name)]
    options = schema.ConcatenationOptionsT()
    options.axis = order.index(int_attribute(node, "axis", 0) % len(shape))
    inputs = [c.ordered(name, order) for name in parts]
    made = c.compute("CONCATENATION", inputs, c.stored(node.output[0], order), c.dtype(node.output[0]), options)
    c.give(node.output[0], made, order)


@converts("Split")
def split(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    axis = int_attribute(node, "axis", 0) % len(x.shape)
    sizes = [c.shape(name)[axis] for name in node.output]
    outputs = []
    for name in node.output:
        outputs.append(c.flat.tensor(name, c.stored(name, x.order), c.dtype_of(x.tensor)))
        c.give(name, outputs[-1], x.order)
    options = schema.SplitVOptionsT()
    options.numSplits = len(sizes)
    inputs = [
        x.tensor,
        c.flat.constant(np.array(sizes, np.int32), "sizes"),
        c.flat.constant(np.array(x.order.index(axis), np.int32), "axis"),
    ]
    c.flat.operator("SPLIT_V", inputs, outputs, options)


@converts("Slice")
def cut(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    rank = len(x.shape)
    starts, ends, axes, steps = _bounds(c, node, rank)
    begin, end, stride = [0] * rank, list(x.shape), [1] * rank
    end_mask = 0
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen = slice(*slice(start, stop, step).indices(x.shape[axis]))
        begin[axis], stride[axis] = chosen.start, step
        if chosen.stop < 0:
            end_mask |= 1 << x.order.index(axis)
        end[axis] = chosen.stop
    table = [
        c.flat.constant(np.array([values[axis] for axis in x.order], np.int32), "bounds")
        for values in (begin, end, stride)
    ]
    options = schema.StridedSliceOptionsT()
    options.endMask = end_mask
    stored = c.stored(node.output[0], x.order)
    if all(step == 1 for step in stride):
        size = c.flat.constant(np.array(stored, np.int32), "size")
        made = c.compute("SLICE", [x.tensor, table[0], size], stored, c.dtype_of(x.tensor), schema.SliceOptionsT())
    else:
        made = c.compute("STRIDED_SLICE", [x.tensor, *table], stored, c.dtype_of(x.tensor), options)
    c.give(node.output[0], made, x.order)


@converts("Pad")
def pad(c: Conversion, node: onnx.NodeProto) -> None:
    """TFLite repeats neither edges nor the whole, and cuts nothing off: there each axis is picked together anew."""
    x = c.placed(node.input[0])
    pairs, value = _amounts(c, node)
    mode = text_attribute(node, "mode", "constant")
    made = x.tensor
    for axis, (before, after) in pairs.items():
        most = 0 if mode == "constant" else math.inf
        places = np.arange(-min(before, most), x.shape[axis] + min(after, most))
        made = chosen(c, made, _inside(places, x.shape[axis], mode), x.order.index(axis))
    if mode == "constant":
        amounts = [[max(n, 0) for n in pairs.get(axis, (0, 0))] for axis in x.order]
        table = c.flat.constant(np.array(amounts, np.int32), "pads")
        stored, dtype = c.stored(node.output[0], x.order), c.dtype_of(x.tensor)
        if value == 0:
            made = c.compute("PAD", [made, table], stored, dtype, schema.PadOptionsT())
        else:
            filler = c.flat.constant(np.array([value], dtype), "filler")
            made = c.compute("PADV2", [made, table, filler], stored, dtype, schema.PadV2OptionsT())
    c.give(node.output[0], made, x.order)


def _amounts(c: Conversion, node: onnx.NodeProto) -> tuple[dict[int, tuple[int, int]], float]:
    """Before and after, of each axis; and the value."""
    rank = len(c.shape(node.input[0]))
    if c.opset < 11:
        amounts, value = ints_attribute(node, "pads") or [], float_attribute(node, "value", 0.0)
    else:
        amounts = [int(n) for n in c.need_constant(node, 1, "size")]
        given = len(node.input) > 2 and node.input[2]
        value = float(c.need_constant(node, 2, "value").item()) if given else 0.0
    axes = list(range(rank))
    if len(node.input) > 3 and node.input[3]:
        axes = [int(axis) % rank for axis in c.need_constant(node, 3, "axes")]
    return {axis: (amounts[i], amounts[i + len(axes)]) for i, axis in enumerate(axes)}, value


def _inside(places: Array, size: int, mode: str) -> Array:
    """Which of `size` values stands at places before, in and behind them."""
    if mode == "wrap":
        inside: Array = places % size
    elif mode == "reflect":
        around = places % max(2 * size - 2, 1)
        inside = np.minimum(around, 2 * size - 2 - around)
    else:
        inside = places.clip(0, size - 1)
    return inside


def _bounds(c: Conversion, node: onnx.NodeProto, rank: int) -> tuple[list[int], list[int], list[int], list[int]]:
    if c.opset < 10:
        starts, ends = ints_attribute(node, "starts") or [], ints_attribute(node, "ends") or []
        axes, steps = ints_attribute(node, "axes"), None
    else:
        starts, ends = ([int(n) for n in c.need_constant(node, i, "range")] for i in (1, 2))
        axes = [int(n) for n in c.need_constant(node, 3, "axes")] if len(node.input) > 3 and node.input[3] else None
        steps = [int(n) for n in c.need_constant(node, 4, "step")] if len(node.input) > 4 and node.input[4] else None
    axes = list(range(len(starts))) if axes is None else [axis % rank for axis in axes]
    return starts, ends, axes, steps or [1] * len(starts)
