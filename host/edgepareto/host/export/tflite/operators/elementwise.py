"""Element by element, with numpy's broadcasting; in the order in which the largest input lies."""

from __future__ import annotations

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import int_attribute

__all__ = ["combine"]

BINARY = {
    "Add": ("ADD", schema.AddOptionsT),
    "Sub": ("SUB", schema.SubOptionsT),
    "Mul": ("MUL", schema.MulOptionsT),
    "Div": ("DIV", schema.DivOptionsT),
    "Pow": ("POW", schema.PowOptionsT),
    "Max": ("MAXIMUM", schema.MaximumMinimumOptionsT),
    "Min": ("MINIMUM", schema.MaximumMinimumOptionsT),
    "Equal": ("EQUAL", schema.EqualOptionsT),
    "Less": ("LESS", schema.LessOptionsT),
    "Greater": ("GREATER", schema.GreaterOptionsT),
    "LessOrEqual": ("LESS_EQUAL", schema.LessEqualOptionsT),
    "GreaterOrEqual": ("GREATER_EQUAL", schema.GreaterEqualOptionsT),
    "And": ("LOGICAL_AND", schema.LogicalAndOptionsT),
    "Or": ("LOGICAL_OR", schema.LogicalOrOptionsT),
    "Sum": ("ADD", schema.AddOptionsT),
}
UNARY = {
    "Sqrt": ("SQRT", None), "Exp": ("EXP", schema.ExpOptionsT), "Log": ("LOG", None),
    "Neg": ("NEG", schema.NegOptionsT),
    "Abs": ("ABS", schema.AbsOptionsT), "Floor": ("FLOOR", None), "Ceil": ("CEIL", None), "Sin": ("SIN", None),
    "Cos": ("COS", schema.CosOptionsT), "Not": ("LOGICAL_NOT", schema.LogicalNotOptionsT),
}  # fmt: skip


@converts(*BINARY)
def combine(c: Conversion, node: onnx.NodeProto) -> None:
    """Max, Min and Sum of more than two are computed pair by pair."""
    code, options = BINARY[node.op_type]
    order = c.common_order(node.input)
    total = c.in_rank(node.input[0], order)
    stored = list(c.stored(node.output[0], order))
    dtype = c.dtype(node.output[0])
    for name in node.input[1:]:
        last = name == node.input[-1]
        shape = stored if last else _broadcast(c, total, c.in_rank(name, order))
        made = options()
        if code == "SUB" or code == "ADD":
            made.potScaleInt16 = False
        total = c.compute(code, [total, c.in_rank(name, order)], shape, dtype, made)
    if len(node.input) == 1:
        total = c.reshaped_copy(total, stored)
    c.give(node.output[0], total, order)


@converts(*UNARY)
def apply(c: Conversion, node: onnx.NodeProto) -> None:
    code, options = UNARY[node.op_type]
    x = c.placed(node.input[0])
    made = c.compute(code, [x.tensor], x.stored, c.dtype_of(x.tensor), None if options is None else options())
    c.give(node.output[0], made, x.order)


@converts("Identity", "Dropout")
def keep(c: Conversion, node: onnx.NodeProto) -> None:
    if any(c.readers[name] for name in node.output[1:]):
        raise Unsupported("Dropout with a mask as a second output")
    x = c.placed(node.input[0])
    c.give(node.output[0], x.tensor, x.order)


@converts("Reciprocal")
def invert(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    one = c.flat.constant(np.array(1, np.float32), "one")
    c.give(node.output[0], c.compute("DIV", [one, x.tensor], x.stored, "float32", schema.DivOptionsT()), x.order)


@converts("Erf")
def refuse_erf(c: Conversion, node: onnx.NodeProto) -> None:
    """TFLite has it inside of GELU alone, which folding.py looks for."""
    del c, node
    raise Unsupported("Erf outside of a GELU")


@converts("Where")
def choose(c: Conversion, node: onnx.NodeProto) -> None:
    order = c.common_order(node.input)
    inputs = [c.in_rank(name, order) for name in node.input]
    stored = c.stored(node.output[0], order)
    made = c.compute("SELECT_V2", inputs, stored, c.dtype(node.output[0]), schema.SelectV2OptionsT())
    c.give(node.output[0], made, order)


@converts("Cast")
def cast(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    wanted = c.dtype(node.output[0])
    if wanted == c.dtype_of(x.tensor):
        c.give(node.output[0], c.reshaped_copy(x.tensor, x.stored), x.order)
        return
    to = int_attribute(node, "to", 0)
    if to in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16):
        raise Unsupported("Cast to a 16-bit float")
    options = schema.CastOptionsT()
    options.inDataType = c.flat.tensors[x.tensor].type
    options.outDataType = c.element_type(wanted)
    c.give(node.output[0], c.compute("CAST", [x.tensor], x.stored, wanted, options), x.order)


def _broadcast(c: Conversion, first: int, second: int) -> list[int]:
    return list(np.broadcast_shapes(tuple(c.flat.tensors[first].shape), tuple(c.flat.tensors[second].shape)))
