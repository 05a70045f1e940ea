"""Sums, means, norms and extremes over axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.operators.builtin import apply, number, reduced, shape_of
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import int_attribute, ints_attribute

__all__ = ["accumulate", "find_extreme", "reduce"]

BUILTINS = {
    "ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "REDUCE_MAX", "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
}  # fmt: skip
OF_TRUTHS = {"ReduceMax": "REDUCE_ANY", "ReduceMin": "REDUCE_ALL"}
OF_FLOATS = ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
Change = Callable[[Conversion, int], int]
AROUND_A_SUM: dict[str, tuple[Change, Change]] = {  # what is done before it and after it
    "ReduceL1": (lambda c, x: apply(c, "ABS", x), lambda _, x: x),
    "ReduceL2": (lambda c, x: apply(c, "MUL", x, x), lambda c, x: apply(c, "SQRT", x)),
    "ReduceSumSquare": (lambda c, x: apply(c, "MUL", x, x), lambda _, x: x),
    "ReduceLogSum": (lambda _, x: x, lambda c, x: apply(c, "LOG", x)),
}


@converts(*BUILTINS, *AROUND_A_SUM, "ReduceLogSumExp")
def reduce(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    rank, op = len(x.shape), node.op_type
    if op in OF_FLOATS and c.dtype_of(x.tensor) != "float32":
        raise Unsupported(f"{op} of {c.dtype_of(x.tensor)}")
    given = ints_attribute(node, "axes")
    if given is None and len(node.input) > 1 and node.input[1]:
        given = [int(axis) for axis in c.need_constant(node, 1, "axes")]
    if not given:
        if int_attribute(node, "noop_with_empty_axes", 0):
            if op not in BUILTINS:
                raise Unsupported(f"{op} over no axis")
            c.give(node.output[0], c.reshaped_copy(x.tensor, x.stored), x.order)
            return
        given = list(range(rank))
    axes = {axis % rank for axis in given}
    places = [x.order.index(axis) for axis in axes]
    keep = int_attribute(node, "keepdims", 1) == 1
    if op in BUILTINS:
        codes = OF_TRUTHS if c.dtype_of(x.tensor) == "bool" else BUILTINS
        made = reduced(c, codes[op], x.tensor, places, keep=keep)
    elif op in AROUND_A_SUM:
        before, after = AROUND_A_SUM[op]
        made = after(c, reduced(c, "SUM", before(c, x.tensor), places, keep=keep))
    else:
        made = _log_sum_exp(c, x.tensor, places, keep=keep)
    left = [axis for axis in x.order if keep or axis not in axes]
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


@converts("CumSum")
def accumulate(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    axis = int(c.need_constant(node, 1, "axis").item()) % len(x.shape)
    options = schema.CumsumOptionsT()
    options.exclusive = int_attribute(node, "exclusive", 0) == 1
    options.reverse = int_attribute(node, "reverse", 0) == 1
    inputs = [x.tensor, number(c, x.order.index(axis), "int32")]
    c.give(node.output[0], c.compute("CUMSUM", inputs, x.stored, c.dtype_of(x.tensor), options), x.order)


def _log_sum_exp(c: Conversion, x: int, axes: Sequence[int], *, keep: bool) -> int:
    """The largest + log(sum(exp(x - the largest))), so that what is finite stays so."""
    top = reduced(c, "REDUCE_MAX", x, axes)
    rest = reduced(c, "SUM", apply(c, "EXP", apply(c, "SUB", x, top)), axes)
    made = apply(c, "ADD", apply(c, "LOG", rest), top)
    sizes = [size for axis, size in enumerate(shape_of(c, made)) if keep or axis not in axes]
    return c.reshaped(made, sizes)
