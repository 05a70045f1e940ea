"""Arithmetic, comparisons and casts, element by element, broadcast as numpy does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import onnx
import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.registry import computes
from edgepareto.host.distil.unsupported import Unsupported

__all__ = ["binary", "cast", "divide", "identity", "mean", "modulo", "several", "unary", "where"]

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "Equal": torch.eq,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}
SEVERAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"Sum": torch.add, "Max": torch.maximum, "Min": torch.minimum}
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Neg": torch.neg,
    "Exp": torch.exp,
    "Log": torch.log,
    "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Atan": torch.atan,
    "Not": torch.logical_not,
    "IsNaN": torch.isnan,
}
KINDS = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}


@computes(*BINARY)
def binary(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    left, right = inputs
    node.require("broadcast", 0)  # opset 6 placed the right one by an axis
    return BINARY[node.op_type](left, right)


@computes(*SEVERAL)
def several(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return reduce(SEVERAL[node.op_type], inputs)


@computes("Mean")
def mean(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, inputs) / len(inputs)


@computes(*UNARY)
def unary(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    return UNARY[node.op_type](data)


@computes("Div")
def divide(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    left, right = inputs
    node.require("broadcast", 0)
    return torch.div(left, right, rounding_mode=None if left.is_floating_point() else "trunc")


@computes("Mod")
def modulo(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    left, right = inputs
    return torch.fmod(left, right) if node.get("fmod", 0) else torch.remainder(left, right)


@computes("Where")
def where(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.where(*inputs)


@computes("Identity", "Dropout")
def identity(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    node.require_one_output()
    return inputs[0]


@computes("Cast", "CastLike")
def cast(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    if node.op_type == "CastLike":
        return inputs[0].to(inputs[1].dtype)
    if node.get("to") not in KINDS:
        raise Unsupported(f"Cast to {onnx.TensorProto.DataType.Name(node.get('to'))}")
    return inputs[0].to(KINDS[node.get("to")])
