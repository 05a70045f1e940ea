"""Activations; those that a layer's operator can apply itself are moved into it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute, text_attribute

__all__ = ["apply_activation"]

PLAIN = {
    "Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU", "Elu": "ELU", "HardSwish": "HARD_SWISH",
}  # fmt: skip
FUSED = {"RELU": schema.ActivationFunctionType.RELU, "RELU6": schema.ActivationFunctionType.RELU6}
TAKES_ACTIVATION = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "ADD",
    "SUB",
    "MUL",
)  # others have the field alone
INFINITE = float("inf")


@converts("Sigmoid", "Tanh", "Relu", "HardSwish")
def apply_activation(c: Conversion, node: onnx.NodeProto) -> None:
    if node.op_type == "Relu" and _fused(c, node, "RELU"):
        return
    options = schema.HardSwishOptionsT() if node.op_type == "HardSwish" else None
    _unary(c, node, PLAIN[node.op_type], options)


@converts("Elu")
def apply_elu(c: Conversion, node: onnx.NodeProto) -> None:
    """TFLite's has alpha 1."""
    alpha = float_attribute(node, "alpha", 1.0)
    if alpha == 1:
        _unary(c, node, "ELU")
        return
    x = c.placed(node.input[0])
    grown = _compute(c, "ELU", [x.tensor], x.stored)
    low = _compute(c, "MINIMUM", [grown, _number(c, 0)], x.stored, schema.MaximumMinimumOptionsT())
    high = _compute(c, "RELU", [x.tensor], x.stored)
    scaled = _compute(c, "MUL", [low, _number(c, alpha)], x.stored, schema.MulOptionsT())
    c.give(node.output[0], _compute(c, "ADD", [high, scaled], x.stored, schema.AddOptionsT()), x.order)


@converts("Clip")
def clip(c: Conversion, node: onnx.NodeProto) -> None:
    low, high = _bounds(c, node)
    if (low, high) == (0, 6) and _fused(c, node, "RELU6"):
        return
    if (low, high) == (0, INFINITE) and _fused(c, node, "RELU"):
        return
    x = c.placed(node.input[0])
    made = x.tensor
    if (low, high) == (0, 6):
        made = _compute(c, "RELU6", [made], x.stored)
    elif (low, high) == (0, INFINITE):
        made = _compute(c, "RELU", [made], x.stored)
    else:
        kind = c.dtype_of(x.tensor)
        for code, bound in (("MAXIMUM", low), ("MINIMUM", high)):
            if not math.isinf(bound):
                number = c.flat.constant(np.array(bound, kind), code.lower())
                made = c.compute(code, [made, number], x.stored, kind, schema.MaximumMinimumOptionsT())
    if made == x.tensor:
        made = c.reshaped_copy(made, x.stored)
    c.give(node.output[0], made, x.order)


@converts("LeakyRelu")
def apply_leaky_relu(c: Conversion, node: onnx.NodeProto) -> None:
    options = schema.LeakyReluOptionsT()
    options.alpha = float_attribute(node, "alpha", 0.01)
    _unary(c, node, "LEAKY_RELU", options)


@converts("PRelu")
def apply_prelu(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    slope = c.need_constant(node, 1, "slope")
    full = slope.reshape((1,) * (len(x.shape) - slope.ndim) + slope.shape).transpose(x.order)
    made = _compute(c, "PRELU", [x.tensor, c.weights(full[0], f"{node.input[1]}_slope")], x.stored)
    c.give(node.output[0], made, x.order)


@converts("Gelu")
def apply_gelu(c: Conversion, node: onnx.NodeProto) -> None:
    options = schema.GeluOptionsT()
    options.approximate = text_attribute(node, "approximate", "none") == "tanh"
    _unary(c, node, "GELU", options)


@converts("HardSigmoid")
def apply_hard_sigmoid(c: Conversion, node: onnx.NodeProto) -> None:
    """max(0, min(1, alpha x + beta))."""
    x = c.placed(node.input[0])
    alpha, beta = float_attribute(node, "alpha", 0.2), float_attribute(node, "beta", 0.5)
    scaled = _compute(c, "MUL", [x.tensor, _number(c, alpha)], x.stored, schema.MulOptionsT())
    moved = _compute(c, "ADD", [scaled, _number(c, beta)], x.stored, schema.AddOptionsT())
    c.give(node.output[0], _compute(c, "RELU_0_TO_1", [moved], x.stored), x.order)


@converts("Softmax", "LogSoftmax")
def apply_softmax(c: Conversion, node: onnx.NodeProto) -> None:
    """TFLite's is over the last axis. Before opset 13 ONNX's is over all axes from its own on, as one."""
    name = node.input[0]
    shape = c.shape(name)
    axis = int_attribute(node, "axis", -1 if c.opset >= 13 else 1) % len(shape)
    if node.op_type == "Softmax":
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
    else:
        options = schema.LogSoftmaxOptionsT()
    code = "SOFTMAX" if node.op_type == "Softmax" else "LOG_SOFTMAX"
    if c.opset < 13 and axis != len(shape) - 1:
        flat = (math.prod(shape[:axis]), math.prod(shape[axis:]))
        made = _compute(c, code, [c.reshaped(c.plain(name), flat)], flat, options)
        c.give_plain(node.output[0], c.reshaped(made, shape))
        return
    order = c.placed(name).order
    if order[-1] != axis:
        order = (*(other for other in order if other != axis), axis)
    stored = [shape[a] for a in order]
    c.give(node.output[0], _compute(c, code, [c.ordered(name, order)], stored, options), order)


def _fused(c: Conversion, node: onnx.NodeProto, code: str) -> bool:
    """Into the operator that makes its input, where that can and nobody else reads it."""
    name = node.input[0]
    if name in c.constants or not c.only_reader(name):
        return False
    x = c.placed(name)
    made = c.made_by(x.tensor)
    if made is None or c.code_of(made) not in TAKES_ACTIVATION or made.builtinOptions.fusedActivationFunction != 0:
        return False
    if not c.may_change(x.tensor):
        return False
    made.builtinOptions.fusedActivationFunction = FUSED[code]
    c.give(node.output[0], x.tensor, x.order)
    return True


def _bounds(c: Conversion, node: onnx.NodeProto) -> tuple[float, float]:
    if c.opset < 11:
        return float_attribute(node, "min", -INFINITE), float_attribute(node, "max", INFINITE)
    found = []
    for position, default in ((1, -INFINITE), (2, INFINITE)):
        given = len(node.input) > position and node.input[position]
        found.append(float(c.need_constant(node, position, "bound").item()) if given else default)
    lowest, largest = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)
    low, high = found
    return (-INFINITE if low <= lowest else low), (INFINITE if high >= largest else high)


def _unary(c: Conversion, node: onnx.NodeProto, code: str, options: object = None) -> None:
    x = c.placed(node.input[0])
    c.give(node.output[0], c.compute(code, [x.tensor], x.stored, c.dtype_of(x.tensor), options), x.order)


def _compute(c: Conversion, code: str, inputs: list[int], stored: Sequence[int], options: object = None) -> int:
    return c.compute(code, inputs, stored, "float32", options)


def _number(c: Conversion, value: float) -> int:
    return c.flat.constant(np.array(value, np.float32), "number")
