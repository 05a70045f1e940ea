"""Normalisations: over channels by constants, over axes by what they hold."""

from __future__ import annotations

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion
from edgepareto.host.export.tflite.placement import channels_last
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import float_attribute, int_attribute

__all__ = ["normalise_batch", "normalise_layer"]


@converts("BatchNormalization")
def normalise_batch(c: Conversion, node: onnx.NodeProto) -> None:
    """One that follows a layer was folded into it before (folding.py)."""
    gain, shift, mean, variance = (c.need_constant(node, position, "statistics") for position in range(1, 5))
    factor = gain / np.sqrt(variance + float_attribute(node, "epsilon", 1e-5))
    x = c.placed(node.input[0])
    name = node.output[0]
    scaled = c.compute(
        "MUL", [x.tensor, _per_channel(c, factor, x.order, f"{name}_factor")], x.stored, "float32", schema.MulOptionsT()
    )
    offset = _per_channel(c, shift - mean * factor, x.order, f"{name}_offset")
    c.give(name, c.compute("ADD", [scaled, offset], x.stored, "float32", schema.AddOptionsT()), x.order)


@converts("LayerNormalization")
def normalise_layer(c: Conversion, node: onnx.NodeProto) -> None:
    """Over the last axes: (x - mean) / sqrt(variance + epsilon), then gain and shift."""
    name, shape = node.input[0], c.shape(node.input[0])
    if any(node.output[1:]):
        raise Unsupported("LayerNormalization with more than one output")
    first = int_attribute(node, "axis", -1) % len(shape)
    x = c.placed(name)
    axes = [x.order.index(axis) for axis in range(first, len(shape))]
    made = _standardised(c, x.tensor, axes, float_attribute(node, "epsilon", 1e-5))
    for position, (code, options) in enumerate((("MUL", schema.MulOptionsT), ("ADD", schema.AddOptionsT)), start=1):
        if len(node.input) > position and node.input[position]:
            made = c.compute(code, [made, c.in_rank(node.input[position], x.order)], x.stored, "float32", options())
    c.give(node.output[0], made, x.order)


@converts("InstanceNormalization")
def normalise_instance(c: Conversion, node: onnx.NodeProto) -> None:
    shape = c.shape(node.input[0])
    order = channels_last(len(shape))
    image = c.channels_last(node.input[0])
    made = _standardised(c, image, list(range(1, len(shape) - 1)), float_attribute(node, "epsilon", 1e-5))
    stored = [shape[axis] for axis in order]
    gain, shift = c.need_constant(node, 1, "scale"), c.need_constant(node, 2, "shift")
    made = c.compute("MUL", [made, c.weights(gain, f"{node.output[0]}_gain")], stored, "float32", schema.MulOptionsT())
    made = c.compute(
        "ADD", [made, c.weights(shift, f"{node.output[0]}_shift")], stored, "float32", schema.AddOptionsT()
    )
    c.give(node.output[0], made, order)


@converts("LRN")
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


def _standardised(c: Conversion, tensor: int, axes: list[int], epsilon: float) -> int:
    stored = list(c.flat.tensors[tensor].shape)
    reduced = [1 if axis in axes else size for axis, size in enumerate(stored)]
    over = c.flat.constant(np.array(axes, np.int32), "axes")
    mean = c.compute("MEAN", [tensor, over], reduced, "float32", _keeping())
    centred = c.compute("SUB", [tensor, mean], stored, "float32", schema.SubOptionsT())
    squared = c.compute("MUL", [centred, centred], stored, "float32", schema.MulOptionsT())
    variance = c.compute("MEAN", [squared, over], reduced, "float32", _keeping())
    small = c.flat.constant(np.array(epsilon, np.float32), "epsilon")
    steadied = c.compute("ADD", [variance, small], reduced, "float32", schema.AddOptionsT())
    root = c.compute("RSQRT", [steadied], reduced, "float32")
    return c.compute("MUL", [centred, root], stored, "float32", schema.MulOptionsT())


def _keeping() -> object:
    options = schema.ReducerOptionsT()
    options.keepDims = True
    return options


def _per_channel(c: Conversion, values: Array, order: tuple[int, ...], name: str) -> int:
    shape = [values.size if axis == 1 else 1 for axis in order]
    return c.weights(values.astype(np.float32).reshape(shape), name)
