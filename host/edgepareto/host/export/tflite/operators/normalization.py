"""Normalisations: over channels by constants, over axes by what they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion
from edgepareto.host.export.tflite.operators.builtin import apply, number, reduced, to_power, to_root
from edgepareto.host.export.tflite.placement import channels_last
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute, ints_attribute

__all__ = ["normalise_batch", "normalise_groups", "normalise_layer", "normalise_length"]

DEVIATION_EPSILON = 1e-9  # of operator MeanVarianceNormalization-13


@converts("BatchNormalization", floats=True)
def normalise_batch(c: Conversion, node: onnx.NodeProto) -> None:
    """One that follows a layer was folded into it before (folding.py)."""
    if any(node.output[1:]):
        raise Unsupported("BatchNormalization that is being trained")
    gain, shift, mean, variance = (c.need_constant(node, position, "statistics") for position in range(1, 5))
    factor = gain / np.sqrt(variance + float_attribute(node, "epsilon", 1e-5))
    x = c.placed(node.input[0])
    name = node.output[0]
    scaled = apply(c, "MUL", x.tensor, _per_channel(c, factor, x.order, f"{name}_factor"))
    offset = _per_channel(c, shift - mean * factor, x.order, f"{name}_offset")
    c.give(name, apply(c, "ADD", scaled, offset), x.order)


@converts("LayerNormalization", floats=True)
def normalise_layer(c: Conversion, node: onnx.NodeProto) -> None:
    """Over the last axes: (x - mean) / sqrt(variance + epsilon), then gain and shift."""
    if any(node.output[1:]):
        raise Unsupported("LayerNormalization with more than one output")
    x = c.placed(node.input[0])
    first = int_attribute(node, "axis", -1) % len(x.shape)
    axes = [x.order.index(axis) for axis in range(first, len(x.shape))]
    made = _standardised(c, x.tensor, axes, float_attribute(node, "epsilon", 1e-5))
    for code, name in zip(("MUL", "ADD"), node.input[1:], strict=False):
        if name:
            made = apply(c, code, made, c.in_rank(name, x.order))
    c.give(node.output[0], made, x.order)


@converts("InstanceNormalization", "GroupNormalization", floats=True)
def normalise_groups(c: Conversion, node: onnx.NodeProto) -> None:
    """Each group of channels over all places, as an axis of its own between; an instance is a group of one channel."""
    shape = c.shape(node.input[0])
    channels = shape[1]
    groups = channels if node.op_type == "InstanceNormalization" else int_attribute(node, "num_groups", 1)
    gain, shift = c.need_constant(node, 1, "scale"), c.need_constant(node, 2, "shift")
    order = channels_last(len(shape))
    x, epsilon = c.ordered(node.input[0], order), float_attribute(node, "epsilon", 1e-5)
    places = list(range(1, len(shape) - 1))
    if groups == channels:
        made = _standardised(c, x, places, epsilon)
    else:
        torn = c.reshaped(x, (shape[0], math.prod(shape[2:]), groups, channels // groups))
        made = c.reshaped(_standardised(c, torn, [1, 3], epsilon), [shape[axis] for axis in order])
    # Before opset 21 a group normalisation had one scale per group.
    gain, shift = (np.repeat(values, channels // values.size) for values in (gain, shift))
    made = apply(c, "MUL", made, c.weights(gain, f"{node.output[0]}_gain"))
    c.give(node.output[0], apply(c, "ADD", made, c.weights(shift, f"{node.output[0]}_shift")), order)


@converts("MeanVarianceNormalization", floats=True)
def normalise_mean_and_variance(c: Conversion, node: onnx.NodeProto) -> None:
    x = c.placed(node.input[0])
    axes = [x.order.index(axis % len(x.shape)) for axis in ints_attribute(node, "axes") or (0, 2, 3)]
    centred, variance = _moments(c, x.tensor, axes)
    deviation = apply(c, "ADD", apply(c, "SQRT", variance), number(c, DEVIATION_EPSILON))
    c.give(node.output[0], apply(c, "DIV", centred, deviation), x.order)


@converts("LpNormalization", floats=True)
def normalise_length(c: Conversion, node: onnx.NodeProto) -> None:
    """What has no length stays zero."""
    x = c.placed(node.input[0])
    p = int_attribute(node, "p", 2)
    axis = x.order.index(int_attribute(node, "axis", -1) % len(x.shape))
    length = to_root(c, reduced(c, "SUM", to_power(c, x.tensor, p), [axis]), p)
    length = apply(c, "MAXIMUM", length, number(c, float(np.finfo(np.float32).tiny)))
    c.give(node.output[0], apply(c, "DIV", x.tensor, length), x.order)


@converts("LRN", floats=True)
def normalise_local_response(c: Conversion, node: onnx.NodeProto) -> None:
    """ONNX divides alpha by the size, TFLite does not; TFLite's window has an odd size."""
    size = int_attribute(node, "size", 1)
    if size % 2 == 0:
        raise Unsupported("LRN of an even size")
    options = schema.LocalResponseNormalizationOptionsT()
    options.radius = size // 2
    options.bias = float_attribute(node, "bias", 1.0)
    options.alpha = float_attribute(node, "alpha", 1e-4) / size
    options.beta = float_attribute(node, "beta", 0.75)
    shape = c.shape(node.input[0])
    if len(shape) != 4:
        raise Unsupported(f"LRN of {len(shape)} axes, 4 are possible")
    order = channels_last(4)
    image = c.channels_last(node.input[0])
    made = c.compute("LOCAL_RESPONSE_NORMALIZATION", [image], [shape[axis] for axis in order], "float32", options)
    c.give(node.output[0], made, order)


def _standardised(c: Conversion, tensor: int, axes: Sequence[int], epsilon: float) -> int:
    centred, variance = _moments(c, tensor, axes)
    return apply(c, "MUL", centred, apply(c, "RSQRT", apply(c, "ADD", variance, number(c, epsilon))))


def _moments(c: Conversion, tensor: int, axes: Sequence[int]) -> tuple[int, int]:
    """The tensor less its mean, and its variance."""
    centred = apply(c, "SUB", tensor, reduced(c, "MEAN", tensor, axes))
    return centred, reduced(c, "MEAN", apply(c, "MUL", centred, centred), axes)


def _per_channel(c: Conversion, values: Array, order: tuple[int, ...], name: str) -> int:
    shape = [values.size if axis == 1 else 1 for axis in order]
    return c.weights(values.astype(np.float32).reshape(shape), name)
