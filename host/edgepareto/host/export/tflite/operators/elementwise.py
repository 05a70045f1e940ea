"""Element by element, with numpy's broadcasting; in the order in which the largest input lies."""

from __future__ import annotations

import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.operators.builtin import apply, number
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import int_attribute

__all__ = ["combine"]

BINARY = {
    "Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV", "Pow": "POW", "Max": "MAXIMUM", "Min": "MINIMUM",
    "Sum": "ADD", "Mean": "ADD", "Equal": "EQUAL", "Less": "LESS", "Greater": "GREATER",
    "LessOrEqual": "LESS_EQUAL", "GreaterOrEqual": "GREATER_EQUAL",
    "And": "LOGICAL_AND", "Or": "LOGICAL_OR", "Xor": "NOT_EQUAL",
}  # fmt: skip
UNARY = {
    "Sqrt": "SQRT", "Exp": "EXP", "Log": "LOG", "Neg": "NEG", "Abs": "ABS", "Floor": "FLOOR", "Ceil": "CEIL",
    "Round": "ROUND", "Sign": "SIGN", "Sin": "SIN", "Cos": "COS", "Not": "LOGICAL_NOT",
}  # fmt: skip


@converts(*BINARY)
def combine(c: Conversion, node: onnx.NodeProto) -> None:
    """More than two are computed pair by pair; ONNX's exponents may be of a type of their own."""
    order = c.common_order(node.input)
    total, *others = (c.in_rank(name, order) for name in node.input)
    if node.op_type == "Pow" and c.dtype_of(others[0]) != c.dtype_of(total):
        exponent = c.need_constant(node, 1, "exponent is of another type and")
        others = [c.flat.constant(exponent.astype(c.dtype_of(total)), "exponent")]
    if node.op_type == "Pow" and c.dtype_of(total) != "float32":
        raise Unsupported(f"Pow of {c.dtype_of(total)}")
    for other in others:
        total = apply(c, BINARY[node.op_type], total, other)
    if not others:
        total = c.reshaped_copy(total, c.stored(node.output[0], order))
    elif node.op_type == "Mean":
        total = apply(c, "DIV", total, number(c, len(node.input)))
    c.give(node.output[0], total, order)


@converts(*UNARY)
def transform(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    c.give(node.output[0], apply(c, UNARY[node.op_type], x.tensor), x.order)


@converts("Identity", "Dropout")
def keep(c: Conversion, node: onnx.NodeProto) -> None:
    if any(c.readers[name] for name in node.output[1:]):
        raise Unsupported("Dropout with a mask as a second output")
    x = c.placed(node.input[0])
    c.give(node.output[0], x.tensor, x.order)


@converts("Reciprocal")
def invert(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    c.give(node.output[0], apply(c, "DIV", number(c, 1), x.tensor), x.order)


@converts("Where")
def choose(c: Conversion, node: onnx.NodeProto) -> None:
    order = c.common_order(node.input)
    c.give(node.output[0], apply(c, "SELECT_V2", *(c.in_rank(name, order) for name in node.input)), order)


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
