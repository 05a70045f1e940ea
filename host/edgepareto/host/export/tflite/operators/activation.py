"""Activations; those that a layer's operator can apply itself are moved into it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.operators.builtin import apply, number, shape_of
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute, text_attribute

__all__ = ["apply_activation"]

PLAIN = {"Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU", "HardSwish": "HARD_SWISH"}
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
SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875  # ONNX's defaults, operator Selu-6
NEAR_ZERO = 0.05
ERF_NEAR_ZERO = [2 / math.sqrt(math.pi) * factor for factor in (1, -1 / 3, 1 / 10)]  # next term below 1e-9 of the value
# 2 artanh(z) / z in powers of z^2, z up to 1/3: interpolated at Chebyshev's points, off by 4e-9 of the value
ARTANH_TWICE = (2.00000000768, 0.66666321641, 0.40024595230, 0.27965157755, 0.28157778314)


@converts(*PLAIN, floats=True)
def apply_activation(c: Conversion, node: onnx.NodeProto) -> None:
    if node.op_type != "Relu" or not _fused(c, node, "RELU"):
        _elementwise(c, node, lambda x: apply(c, PLAIN[node.op_type], x))


@converts("Elu", "Selu", "Celu", floats=True)
def apply_elu(c: Conversion, node: onnx.NodeProto) -> None:
    """gamma * (max(0, x) + alpha * (exp(min(0, x) / width) - 1)); TFLite's has 1 for each of them."""
    alpha, gamma, width = float_attribute(node, "alpha", 1.0), 1.0, 1.0
    if node.op_type == "Selu":
        alpha, gamma = float_attribute(node, "alpha", SELU_ALPHA), float_attribute(node, "gamma", SELU_GAMMA)
    elif node.op_type == "Celu":
        width = alpha

    def made(x: int) -> int:
        if (alpha, gamma, width) == (1, 1, 1):
            return apply(c, "ELU", x)
        grown = apply(c, "ELU", x if width == 1 else apply(c, "MUL", x, number(c, 1 / width)))
        low = apply(c, "MUL", apply(c, "MINIMUM", grown, number(c, 0)), number(c, alpha * gamma))
        high = apply(c, "RELU", x)
        return apply(c, "ADD", high if gamma == 1 else apply(c, "MUL", high, number(c, gamma)), low)

    _elementwise(c, node, made)


@converts("Softplus", floats=True)
def apply_softplus(c: Conversion, node: onnx.NodeProto) -> None:
    """max(0, x) + log(1 + e) with e = exp(-|x|), written as 2 artanh(z) with z = e / (2 + e).

    XNNPACK's logarithm near 1 is off by 2e-7 (LiteRT 2.3.0), which may be more than all there is.
    """

    def made(x: int) -> int:
        e = apply(c, "EXP", apply(c, "NEG", apply(c, "ABS", x)))
        z = apply(c, "DIV", e, apply(c, "ADD", e, number(c, 2)))
        logarithm = apply(c, "MUL", z, _polynomial(c, apply(c, "MUL", z, z), ARTANH_TWICE))
        return apply(c, "ADD", apply(c, "RELU", x), logarithm)

    _elementwise(c, node, made)


@converts("Mish", floats=True)
def apply_mish(c: Conversion, node: onnx.NodeProto) -> None:
    """x * tanh(log(1 + e)) = x * n / (n + 2) with e = exp(x), n = e * (e + 2); from 20 on the factor is 1."""

    def made(x: int) -> int:
        e = apply(c, "EXP", apply(c, "MINIMUM", x, number(c, 20)))
        n = apply(c, "MUL", e, apply(c, "ADD", e, number(c, 2)))
        return apply(c, "MUL", x, apply(c, "DIV", n, apply(c, "ADD", n, number(c, 2))))

    _elementwise(c, node, made)


@converts("Softsign", floats=True)
def apply_softsign(c: Conversion, node: onnx.NodeProto) -> None:
    _elementwise(c, node, lambda x: apply(c, "DIV", x, apply(c, "ADD", apply(c, "ABS", x), number(c, 1))))


@converts("ThresholdedRelu", floats=True)
def apply_thresholded_relu(c: Conversion, node: onnx.NodeProto) -> None:
    alpha = number(c, float_attribute(node, "alpha", 1.0))
    _elementwise(c, node, lambda x: apply(c, "SELECT_V2", apply(c, "GREATER", x, alpha), x, number(c, 0)))


@converts("Erf", floats=True)
def apply_erf(c: Conversion, node: onnx.NodeProto) -> None:
    """From GELU(z) = z / 2 * (1 + erf(z / sqrt 2)), which loses digits near zero; there its series."""

    def made(x: int) -> int:
        z = apply(c, "MUL", x, number(c, math.sqrt(2)))
        twice = apply(c, "MUL", apply(c, "GELU", z), number(c, 2))
        far = apply(c, "DIV", apply(c, "SUB", twice, z), z)
        near = apply(c, "MUL", x, _polynomial(c, apply(c, "MUL", x, x), ERF_NEAR_ZERO))
        is_near = apply(c, "LESS", apply(c, "ABS", x), number(c, NEAR_ZERO))
        return apply(c, "SELECT_V2", is_near, near, far)

    _elementwise(c, node, made)


@converts("Clip")
def clip(c: Conversion, node: onnx.NodeProto) -> None:
    low, high = _bounds(c, node)
    named = {(0.0, 6.0): "RELU6", (0.0, INFINITE): "RELU"}.get((low, high))
    if named and _fused(c, node, named):
        return

    def made(x: int) -> int:
        kind = c.dtype_of(x)
        if named and kind == "float32":
            return apply(c, named, x)
        bounds = [pair for pair in (("MAXIMUM", low), ("MINIMUM", high)) if not math.isinf(pair[1])]
        clipped = x
        for code, bound in bounds:
            clipped = apply(c, code, clipped, number(c, bound, kind))
        return clipped if bounds else c.reshaped_copy(x, shape_of(c, x))

    _elementwise(c, node, made)


@converts("LeakyRelu", floats=True)
def apply_leaky_relu(c: Conversion, node: onnx.NodeProto) -> None:
    options = schema.LeakyReluOptionsT()
    options.alpha = float_attribute(node, "alpha", 0.01)
    _elementwise(c, node, lambda x: c.compute("LEAKY_RELU", [x], shape_of(c, x), "float32", options))


@converts("PRelu", floats=True)
def apply_prelu(c: Conversion, node: onnx.NodeProto) -> None:
    """TFLite's has one slope per place of the last axis as it lies; others are max(0, x) + slope * min(0, x)."""
    order = c.placed(node.input[0]).order
    slope = c.in_rank(node.input[1], order)
    value = c.constant(node.input[1])

    def made(x: int) -> int:
        sizes = shape_of(c, slope)
        if value is not None and math.prod(sizes) == (sizes[-1] if sizes else 1) == shape_of(c, x)[-1]:
            row = c.weights(value.reshape((1,) * (len(order) - 2) + (-1,)), f"{node.input[1]}_slope")
            return c.compute("PRELU", [x, row], shape_of(c, x), "float32")
        low = apply(c, "MUL", apply(c, "MINIMUM", x, number(c, 0)), slope)
        return apply(c, "ADD", apply(c, "RELU", x), low)

    _elementwise(c, node, made)


@converts("Gelu", floats=True)
def apply_gelu(c: Conversion, node: onnx.NodeProto) -> None:
    options = schema.GeluOptionsT()
    options.approximate = text_attribute(node, "approximate", "none") == "tanh"
    _elementwise(c, node, lambda x: c.compute("GELU", [x], shape_of(c, x), "float32", options))


@converts("HardSigmoid", floats=True)
def apply_hard_sigmoid(c: Conversion, node: onnx.NodeProto) -> None:
    """max(0, min(1, alpha x + beta))."""
    alpha, beta = float_attribute(node, "alpha", 0.2), float_attribute(node, "beta", 0.5)

    def made(x: int) -> int:
        scaled = apply(c, "MUL", x, number(c, alpha))
        return apply(c, "RELU_0_TO_1", apply(c, "ADD", scaled, number(c, beta)))

    _elementwise(c, node, made)


@converts("Softmax", "LogSoftmax", floats=True)
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
        made = c.compute(code, [c.reshaped(c.plain(name), flat)], flat, "float32", options)
        c.give_plain(node.output[0], c.reshaped(made, shape))
        return
    order = c.placed(name).order
    if order[-1] != axis:
        order = (*(other for other in order if other != axis), axis)
    stored = [shape[a] for a in order]
    c.give(node.output[0], c.compute(code, [c.ordered(name, order)], stored, "float32", options), order)


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


def _polynomial(c: Conversion, x: int, coefficients: Sequence[float]) -> int:
    """Lowest power first."""
    *lower, highest = coefficients
    total = number(c, highest)
    for coefficient in reversed(lower):
        total = apply(c, "ADD", apply(c, "MUL", total, x), number(c, coefficient))
    return total


def _elementwise(c: Conversion, node: onnx.NodeProto, made: Callable[[int], int]) -> None:
    x = c.placed(node.input[0])
    c.give(node.output[0], made(x.tensor), x.order)
