"""Sums, means and extremes over axes."""

from __future__ import annotations

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import int_attribute, ints_attribute

__all__ = ["find_extreme", "reduce"]

CODES = {
    "ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "REDUCE_MAX", "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
}  # fmt: skip


@converts(*CODES)
def reduce(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    rank = len(x.shape)
    given = ints_attribute(node, "axes")
    if given is None and len(node.input) > 1 and node.input[1]:
        given = [int(axis) for axis in c.need_constant(node, 1, "axes")]
    if given is None:
        if int_attribute(node, "noop_with_empty_axes", 0):
            c.give(node.output[0], c.reshaped_copy(x.tensor, x.stored), x.order)
            return
        given = list(range(rank))
    axes = sorted(axis % rank for axis in given)
    keep = int_attribute(node, "keepdims", 1) == 1
    options = schema.ReducerOptionsT()
    options.keepDims = keep
    left = [axis for axis in x.order if keep or axis not in axes]
    stored = [1 if axis in axes else x.shape[axis] for axis in left]
    over = c.flat.constant(np.array(sorted(x.order.index(axis) for axis in axes), np.int32), "axes")
    made = c.compute(CODES[node.op_type], [x.tensor, over], stored, c.dtype(node.output[0]), options)
    remaining = sorted(left)
    c.give(node.output[0], made, tuple(remaining.index(axis) for axis in left))


@converts("ArgMax", "ArgMin")
def find_extreme(c: Conversion, node: onnx.NodeProto) -> None:
    if int_attribute(node, "select_last_index", 0):
        raise Unsupported(f"{node.op_type} of the last index")
    x = c.placed(node.input[0])
    axis = int_attribute(node, "axis", 0) % len(x.shape)
    options = schema.ArgMaxOptionsT() if node.op_type == "ArgMax" else schema.ArgMinOptionsT()
    options.outputType = schema.TensorType.INT32
    left = [other for other in x.order if other != axis]
    where = c.flat.constant(np.array(x.order.index(axis), np.int32), "axis")
    code = "ARG_MAX" if node.op_type == "ArgMax" else "ARG_MIN"
    made = c.compute(code, [x.tensor, where], [x.shape[other] for other in left], "int32", options)
    if int_attribute(node, "keepdims", 1):
        c.give(node.output[0], c.reshaped(made, [1 if a == axis else x.shape[a] for a in x.order]), x.order)
    else:
        remaining = sorted(left)
        c.give(node.output[0], made, tuple(remaining.index(other) for other in left))
