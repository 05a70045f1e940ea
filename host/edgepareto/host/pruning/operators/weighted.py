"""Operators with a weight: they read the channels of their input and make the channels of their output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.cuts import AttributeCount
from edgepareto.host.pruning.graph_walk import GraphWalk, Untracked, WeightsMissing
from edgepareto.host.pruning.layer import Layer, LayerKind, Product
from edgepareto.host.pruning.normal_form.attributes import (
    float_attribute,
    int_attribute,
    ints_attribute,
    text_attribute,
)
from edgepareto.host.pruning.operators.refused import PRUNE_BEFORE, is_quantised
from onnx import NodeProto

__all__ = ["RULES"]


def conv(node: NodeProto, walk: GraphWalk) -> None:
    weight = node.input[1]
    kernel = _weight(weight, walk)
    outputs, inputs_per_group = kernel.shape[0], kernel.shape[1]
    groups = int_attribute(node, "group", 1)
    channels = walk.channels(node)
    if groups == 1:
        made = walk.table.fresh(outputs)
        if channels is not None:
            walk.cut(weight, 1, channels)
        _add_layer(node, walk, LayerKind.CONV, channels, made, input_axis=1, output_axis=0)
    elif inputs_per_group == 1 and channels is not None:
        made = np.repeat(channels, outputs // groups)  # output i x multiplier + j belongs to input i
        walk.counts.append(AttributeCount(node=walk.node, attribute="group", position=None, labels=channels))
        _add_layer(node, walk, LayerKind.GROUPED, channels, made, input_axis=None, output_axis=0)
    else:
        made = _balanced(walk, outputs, channels, groups)
        if channels is not None:
            walk.cut_blocks(weight, 1, channels.reshape(groups, -1))
        _add_layer(node, walk, LayerKind.GROUPED, channels, made, input_axis=1, output_axis=0, groups=groups)


def conv_transpose(node: NodeProto, walk: GraphWalk) -> None:
    """Its weight is (inputs, outputs of a group, ...), so it is the inputs that are cut along axis 0."""
    weight = node.input[1]
    kernel = _weight(weight, walk)
    groups = int_attribute(node, "group", 1)
    channels = walk.channels(node)
    if groups == 1:
        if channels is not None:
            walk.cut(weight, 0, channels)
        made = walk.table.fresh(kernel.shape[1])
        walk.cut(weight, 1, made)
    elif channels is not None and kernel.shape[0] == groups:
        made = np.repeat(channels, kernel.shape[1])
        walk.counts.append(AttributeCount(node=walk.node, attribute="group", position=None, labels=channels))
        walk.cut(weight, 0, channels)
    else:
        made = _balanced(walk, kernel.shape[1] * groups, channels, groups)
        walk.cut_blocks(weight, 1, made.reshape(groups, -1))
        if channels is not None:
            walk.cut(weight, 0, channels)
    stretched = text_attribute(node, "auto_pad", "NOTSET") != "NOTSET" or ints_attribute(node, "output_shape")
    kind = LayerKind.OTHER if stretched else LayerKind.CONV if groups == 1 else LayerKind.GROUPED
    depthwise = channels is not None and kernel.shape[0] == groups > 1
    _add_layer(
        node,
        walk,
        kind,
        channels,
        made,
        input_axis=None if depthwise else 0,
        output_axis=None,
        groups=1 if depthwise else groups,
    )


def gemm(node: NodeProto, walk: GraphWalk) -> None:
    weight = node.input[1]
    kernel = _weight(weight, walk)
    if int_attribute(node, "transA", 0):
        raise Untracked("reads its input transposed")
    transposed = bool(int_attribute(node, "transB", 0))
    input_axis, output_axis = (1, 0) if transposed else (0, 1)
    features = walk.channels(node)
    if features is not None:
        walk.cut(weight, input_axis, features)
    plain = float_attribute(node, "alpha", 1.0) == 1.0 and float_attribute(node, "beta", 1.0) == 1.0
    kind = LayerKind.LINEAR if plain else LayerKind.OTHER
    made = walk.table.fresh(kernel.shape[output_axis])
    _add_layer(node, walk, kind, features, made, input_axis=input_axis, output_axis=output_axis)


def matmul(node: NodeProto, walk: GraphWalk) -> None:
    data, weight = node.input
    kernel = walk.constant(weight)
    axes = walk.labels(data)
    stored = next((why for name in node.input if (why := _absence(name, walk)) is not None), None)
    if stored is not None:
        raise WeightsMissing(stored)
    if kernel is None or walk.constant(data) is not None or kernel.ndim != 2 or len(axes) < 2:
        _product(node, walk)
        return
    if axes[-1] is not None:
        walk.cut(weight, 0, axes[-1])
    made = walk.table.fresh(kernel.shape[1])
    _add_layer(node, walk, LayerKind.LINEAR, axes[-1], made, input_axis=0, output_axis=1, across=axes[:-1])
    walk.set_labels(node.output[0], (*axes[:-1], made))


def _product(node: NodeProto, walk: GraphWalk) -> None:
    """Two activations, as in attention: the summed axis is cut on both sides or on neither, so are leading axes."""
    left, right = node.input
    ranks = len(walk.shape(left)), len(walk.shape(right))
    if any(walk.constant(name) is not None for name in node.input) or min(ranks) < 2:
        raise Untracked("multiplies by a constant that is no plain weight matrix")
    summed = walk.met(node, [(left, -1), (right, -2)])
    leading: list[Labels | None] = []
    for axis in range(-max(ranks), -2):
        here = [(name, axis) for name, rank in zip(node.input, ranks, strict=True) if rank >= -axis]
        wide = [(name, place) for name, place in here if walk.shape(name)[place] != 1]
        leading.append(walk.met(node, wide or here))
    made = (*leading, walk.labels(left)[-2], walk.labels(right)[-1])
    walk.set_labels(node.output[0], made)
    length = walk.shape(left)[-1]
    macs = walk.positions(node.output[0], None) * (length if isinstance(length, int) else 1)
    axes = tuple(labels for labels in (*made, summed) if labels is not None)
    walk.products.append(Product(node=walk.node, macs=macs, axes=axes))


def _balanced(walk: GraphWalk, outputs: int, channels: Labels | None, groups: int) -> Labels:
    """New labels for a grouped convolution's outputs. Each group keeps as many inputs, and outputs, as the others."""
    if outputs % groups or (channels is not None and len(channels) % groups):
        raise Untracked(f"has channels that its {groups} groups do not divide")
    made = walk.table.fresh(outputs)
    walk.table.balance(made.reshape(groups, -1))
    if channels is not None:
        walk.table.balance(channels.reshape(groups, -1))
    return made


def _weight(name: str, walk: GraphWalk) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    kernel = walk.constant(name)
    if kernel is None:
        raise WeightsMissing(_absence(name, walk) or "computes its weights at run time")
    return kernel


def _absence(name: str, walk: GraphWalk) -> str | None:
    """Why a weight is no plain initializer; None: it is an activation."""
    maker = walk.maker(name)
    if walk.is_sparse(name):
        return "has sparse weights"
    quantised = maker is not None and _unpacks_weight(maker, walk)
    return f"has quantised weights: {PRUNE_BEFORE}" if quantised else None


def _unpacks_weight(node: NodeProto, walk: GraphWalk) -> bool:
    """A DequantizeLinear of a constant, perhaps turned round behind it."""
    maker = walk.maker(node.input[0]) if node.input else None
    if node.op_type in ("Transpose", "Reshape", "Cast") and maker is not None:
        return _unpacks_weight(maker, walk)
    of_constant = bool(node.input) and walk.constant(node.input[0]) is not None
    return is_quantised(node) and (of_constant or (maker is not None and _unpacks_weight(maker, walk)))


def _add_layer(
    node: NodeProto,
    walk: GraphWalk,
    kind: LayerKind,
    inputs: Labels | None,
    outputs: Labels,
    *,
    input_axis: int | None,
    output_axis: int | None,
    across: Sequence[Labels | None] = (),
    groups: int = 1,
) -> None:
    """Record the layer, cut its weight and bias on the output side, and label its output.

    output_axis None: the weight is cut already.
    """
    weight, output = node.input[1], node.output[0]
    if output_axis is not None:
        walk.cut(weight, output_axis, outputs)
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    is_matmul = node.op_type == "MatMul"
    if bias is not None:
        _cut_bias(bias, outputs, walk)
    shape = walk.constant(bias) if bias is not None else None
    if bias is not None and (shape is None or shape.size != len(outputs)):
        kind = LayerKind.OTHER  # a scalar or computed bias cannot take one value per channel
    if is_matmul:
        bias = _following_bias(output, len(outputs), walk)
    rank = len(walk.shape(output))
    channel_axis = 1 if "Conv" in node.op_type else rank - 1
    measured = node.input[0] if node.op_type == "ConvTranspose" else output
    layer = Layer(
        name=node.name,
        node=walk.node,
        kind=kind,
        data=node.input[0],
        output=output,
        weight=weight,
        bias=bias,
        can_add_bias=not is_matmul,
        inputs=inputs,
        outputs=outputs,
        input_axis=input_axis,
        output_axis=1 if output_axis is None else output_axis,
        positions=walk.positions(measured, channel_axis),
        across=tuple(labels for labels in across if labels is not None),
        groups=groups,
        tied=len(walk.readers(weight)) > 1,
    )
    walk.layers.append(layer)
    walk.owners.append((outputs, node.name))
    walk.set_axis(output, channel_axis, outputs)


def _cut_bias(bias: str, outputs: Labels, walk: GraphWalk) -> None:
    value = walk.constant(bias)
    if value is None:
        walk.table.freeze(outputs, "has a bias that is computed at run time")
    elif value.ndim > 0 and value.shape[-1] == len(outputs) and value.size == len(outputs):
        walk.cut(bias, value.ndim - 1, outputs)
    elif value.size != 1:
        walk.table.freeze(outputs, "has a bias of an unusual shape")


def _following_bias(output: str, features: int, walk: GraphWalk) -> str | None:
    """The constant that an Add, the only reader of a MatMul's output, adds to it."""
    readers = walk.readers(output)
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    other = next((name for name in readers[0].input if name != output), None)
    value = walk.constant(other) if other is not None else None
    return other if value is not None and value.shape == (features,) else None


RULES = {"Conv": conv, "ConvTranspose": conv_transpose, "Gemm": gemm, "MatMul": matmul}
