"""Operators that pick values by their places: gathers, one-hot rows, the largest few, triangles."""

from __future__ import annotations

import math

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.operators.builtin import apply, integers, number
from edgepareto.host.export.tflite.placement import plain
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import int_attribute

__all__ = ["gather", "gather_elements", "gather_from_several_axes", "keep_triangle", "make_one_hot", "pick_largest"]


@converts("Gather")
def gather(c: Conversion, node: onnx.NodeProto) -> None:
    data, indices = node.input
    shape = c.shape(data)
    axis = int_attribute(node, "axis", 0) % len(shape)
    known = c.constant(indices)
    if known is not None:  # from the end, as ONNX allows and TFLite does not
        places = c.flat.constant(np.where(known < 0, known + shape[axis], known).astype(np.int32), "places")
    else:
        places = c.plain(indices)
    x = c.placed(data)
    order = x.order if known is not None and known.ndim <= 1 else plain(len(shape))
    options = schema.GatherOptionsT()
    options.axis = order.index(axis)
    out_rank = len(c.shape(node.output[0]))
    if known is not None and known.ndim == 0:
        out_order = tuple(a - (a > axis) for a in order if a != axis)
    else:
        out_order = order if known is not None and known.ndim == 1 else plain(out_rank)
    stored = c.stored(node.output[0], out_order)
    made = c.compute("GATHER", [c.ordered(data, order), places], stored, c.dtype(node.output[0]), options)
    c.give(node.output[0], made, out_order)


@converts("GatherElements")
def gather_elements(c: Conversion, node: onnx.NodeProto) -> None:
    """TFLite lacks it: places in the flattened tensor, counted from those of the other axes."""
    data, indices = node.input
    shape, wanted = c.shape(data), c.shape(node.output[0])
    axis = int_attribute(node, "axis", 0) % len(shape)
    strides = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
    grid = np.indices(wanted)
    others = sum((grid[place] * strides[place] for place in range(len(shape)) if place != axis), np.zeros(wanted, int))
    known = c.constant(indices)
    if known is not None:
        places = c.flat.constant((others + known % shape[axis] * strides[axis]).astype(np.int32), "places")
    else:
        own = apply(c, "FLOOR_MOD", c.plain(indices), number(c, shape[axis], "int32"))
        own = apply(c, "MUL", own, number(c, strides[axis], "int32"))
        places = apply(c, "ADD", own, c.flat.constant(others.astype(np.int32), "others"))
    flat = c.reshaped(c.plain(data), (math.prod(shape),))
    made = c.compute("GATHER", [flat, places], wanted, c.dtype(node.output[0]), schema.GatherOptionsT())
    c.give_plain(node.output[0], made)


@converts("GatherND")
def gather_from_several_axes(c: Conversion, node: onnx.NodeProto) -> None:
    if int_attribute(node, "batch_dims", 0):
        raise Unsupported("GatherND with batch axes")
    data, indices = node.input
    known = c.constant(indices)
    sizes = c.shape(data)[: c.shape(indices)[-1]]
    if known is not None:
        places = c.flat.constant((known % np.array(sizes)).astype(np.int32), "places")
    else:
        places = apply(c, "FLOOR_MOD", c.plain(indices), integers(c, sizes, "sizes"))
    shape = c.shape(node.output[0])
    inputs = [c.plain(data), places]
    made = c.compute("GATHER_ND", inputs, shape, c.dtype(node.output[0]), schema.GatherNdOptionsT())
    c.give_plain(node.output[0], made)


@converts("OneHot")
def make_one_hot(c: Conversion, node: onnx.NodeProto) -> None:
    """ONNX counts negative places from the end; what lies outside of the depth is off for both."""
    depth = int(c.need_constant(node, 1, "depth").item())
    off, on = c.need_constant(node, 2, "pair of values")
    dtype = c.dtype(node.output[0])
    x = c.plain(node.input[0])
    if c.dtype_of(x) != "int32":
        raise Unsupported(f"OneHot of {c.dtype_of(x)}")
    is_negative = apply(c, "LESS", x, number(c, 0, "int32"))
    x = apply(c, "SELECT_V2", is_negative, apply(c, "ADD", x, number(c, depth, "int32")), x)
    shape = c.shape(node.output[0])
    options = schema.OneHotOptionsT()
    options.axis = int_attribute(node, "axis", -1) % len(shape)
    inputs = [x, number(c, depth, "int32"), number(c, on, dtype), number(c, off, dtype)]
    c.give_plain(node.output[0], c.compute("ONE_HOT", inputs, shape, dtype, options))


@converts("TopK")
def pick_largest(c: Conversion, node: onnx.NodeProto) -> None:
    """TFLite's are the largest of the last axis, sorted; the smallest are the largest of what is turned round."""
    x = c.placed(node.input[0])
    axis = int_attribute(node, "axis", -1) % len(x.shape)
    order = (*(other for other in x.order if other != axis), axis)
    tensor = c.ordered(node.input[0], order)
    smallest = int_attribute(node, "largest", 1) == 0
    if smallest:
        tensor = apply(c, "NEG", tensor)
    stored = c.stored(node.output[0], order)
    values = c.flat.tensor(node.output[0], stored, c.dtype_of(tensor))
    places = c.flat.tensor(node.output[1], stored, "int32")
    inputs = [tensor, number(c, stored[-1], "int32")]
    c.flat.operator("TOPK_V2", inputs, [values, places], schema.TopKV2OptionsT())
    c.give(node.output[0], apply(c, "NEG", values) if smallest else values, order)
    c.give(node.output[1], places, order)


@converts("Trilu")
def keep_triangle(c: Conversion, node: onnx.NodeProto) -> None:
    shape = c.shape(node.input[0])
    above = int(c.need_constant(node, 1, "diagonal").item()) if len(node.input) > 1 and node.input[1] else 0
    upper = int_attribute(node, "upper", 1) == 1
    ones = np.ones(shape[-2:], bool)
    mask = c.flat.constant(np.triu(ones, above) if upper else np.tril(ones, above), "triangle")
    x = c.plain(node.input[0])
    c.give_plain(node.output[0], apply(c, "SELECT_V2", mask, x, number(c, 0, c.dtype_of(x))))
