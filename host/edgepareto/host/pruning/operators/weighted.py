"""Operators with a weight: they read the channels of their input and make the channels of their output."""

from __future__ import annotations

import numpy as np
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.graph_walk import AttributeCount, GraphWalk, Layer, LayerKind, Untracked
from edgepareto.host.pruning.operators.attributes import float_attribute, int_attribute
from onnx import NodeProto

__all__ = ["RULES"]


def conv(node: NodeProto, walk: GraphWalk) -> None:
    data, weight = node.input[0], node.input[1]
    kernel = _weight(weight, walk)
    outputs, inputs_per_group = kernel.shape[0], kernel.shape[1]
    groups = int_attribute(node, "group", 1)
    channels = walk.labels(data)[1]
    if groups == 1:
        made = walk.table.fresh(outputs)
        if channels is not None:
            walk.cut(weight, 1, channels)
        _add_layer(node, walk, LayerKind.CONV, channels, made, input_axis=1, output_axis=0)
    elif inputs_per_group == 1 and channels is not None:
        made = np.repeat(channels, outputs // groups)  # output i x multiplier + j belongs to input i
        walk.counts.append(AttributeCount(node=walk.node, attribute="group", position=None, labels=channels))
        kind = LayerKind.DEPTHWISE if outputs == groups else LayerKind.OTHER
        _add_layer(node, walk, kind, channels, made, input_axis=None, output_axis=0)
    else:
        _frozen_groups(node, walk, groups, outputs, channels)


def conv_transpose(node: NodeProto, walk: GraphWalk) -> None:
    kernel = _weight(node.input[1], walk)
    groups = int_attribute(node, "group", 1)
    channels = walk.labels(node.input[0])[1]
    if groups > 1:
        _frozen_groups(node, walk, groups, kernel.shape[1] * groups, channels)
        return
    if channels is not None:
        walk.cut(node.input[1], 0, channels)
    made = walk.table.fresh(kernel.shape[1])
    _add_layer(node, walk, LayerKind.OTHER, channels, made, input_axis=0, output_axis=1)


def gemm(node: NodeProto, walk: GraphWalk) -> None:
    data, weight = node.input[0], node.input[1]
    kernel = _weight(weight, walk)
    if int_attribute(node, "transA", 0):
        raise Untracked("reads its input transposed")
    transposed = bool(int_attribute(node, "transB", 0))
    input_axis, output_axis = (1, 0) if transposed else (0, 1)
    features = walk.labels(data)[1]
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
    if kernel is None or walk.constant(data) is not None or kernel.ndim != 2 or len(axes) < 2:
        walk.fixed_macs += walk.spatial_positions(node.output[0], slice(0, None)) * walk.spatial_positions(
            data, slice(-1, None)
        )
        raise Untracked("multiplies two tensors of which neither is a plain weight matrix")
    if axes[-1] is not None:
        walk.cut(weight, 0, axes[-1])
    made = walk.table.fresh(kernel.shape[1])
    _add_layer(node, walk, LayerKind.LINEAR, axes[-1], made, input_axis=0, output_axis=1)
    walk.set_labels(node.output[0], (*axes[:-1], made))


def _weight(name: str, walk: GraphWalk) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    kernel = walk.constant(name)
    if kernel is None:
        raise Untracked("computes its weights at run time")
    return kernel


def _frozen_groups(node: NodeProto, walk: GraphWalk, groups: int, outputs: int, channels: Labels | None) -> None:
    """What channels may leave a grouped convolution together is not known yet: nothing leaves it."""
    reason = f"passes '{node.name}' (Conv in {groups} groups), which keeps its channels"
    walk.table.freeze_all((channels,), reason)
    made = walk.table.fresh(outputs)
    walk.table.freeze(made, reason)
    walk.set_axis(node.output[0], 1, made)
    _add_layer(node, walk, LayerKind.OTHER, channels, made, input_axis=None, output_axis=0)


def _add_layer(
    node: NodeProto,
    walk: GraphWalk,
    kind: LayerKind,
    inputs: Labels | None,
    outputs: Labels,
    *,
    input_axis: int | None,
    output_axis: int,
) -> None:
    """Record the layer, cut its weight and bias on the output side, and label its output."""
    weight, output = node.input[1], node.output[0]
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
    spatial = slice(2, None) if "Conv" in node.op_type else slice(1, rank - 1)
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
        output_axis=output_axis,
        positions=walk.spatial_positions(measured, spatial),
    )
    walk.layers.append(layer)
    walk.owners.append((outputs, node.name))
    walk.set_axis(output, 1 if "Conv" in node.op_type else rank - 1, outputs)


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
