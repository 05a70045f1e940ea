"""Operators that work on each element: one input passes its labels on, several join theirs."""

from __future__ import annotations

from edgepareto.host.pruning.channel_labels import AxisLabels, Labels
from edgepareto.host.pruning.graph_walk import GraphWalk, Untracked
from edgepareto.host.pruning.normal_form.attributes import int_attribute
from onnx import NodeProto

__all__ = ["RULES"]


def unary(node: NodeProto, walk: GraphWalk) -> None:
    """Further inputs (Clip's limits, Dropout's ratio) are scalars."""
    axes = walk.labels(node.input[0])
    for name in node.output:
        if name:
            walk.set_labels(name, axes)


def broadcast(node: NodeProto, walk: GraphWalk) -> None:
    """Numpy's broadcasting: axes are aligned from the right; an axis of size 1 meets any size."""
    names = [name for name in node.input if name]
    shapes = {name: walk.shape(name) for name in names}
    rank = max(len(shape) for shape in shapes.values())
    merged: list[Labels | None] = [None] * rank
    for axis in range(-rank, 0):
        wide = [name for name in names if len(shapes[name]) >= -axis and shapes[name][axis] != 1]
        signals = [name for name in wide if walk.constant(name) is None]
        labelled = [labels for name in signals if (labels := walk.labels(name)[axis]) is not None]
        if not labelled:
            merged[axis] = _labels_of_size_one(names, walk, axis) if not wide else None
            continue
        first = labelled[0]
        for other in labelled[1:]:
            walk.table.join(first, other)
        if len(labelled) < len(signals):
            walk.table.freeze(first, f"is combined by '{node.name}' ({node.op_type}) with a tensor that cannot be cut")
        for name in wide:
            if walk.constant(name) is not None:
                walk.cut(name, len(shapes[name]) + axis, first)
        merged[axis] = first
    walk.set_labels(node.output[0], merged)


def _labels_of_size_one(names: list[str], walk: GraphWalk, axis: int) -> Labels | None:
    """Every operand has size 1 here; a single channel is still a channel."""
    found = [walk.labels(n)[axis] for n in names if walk.constant(n) is None and len(walk.shape(n)) >= -axis]
    labelled = [labels for labels in found if labels is not None]
    for other in labelled[1:]:
        walk.table.join(labelled[0], other)
    return labelled[0] if labelled else None


def per_channel(node: NodeProto, walk: GraphWalk) -> None:
    """BatchNormalization, InstanceNormalization: each further input holds one value per channel."""
    axes = walk.labels(node.input[0])
    labels = axes[1]
    if labels is not None:
        if any(walk.constant(name) is None for name in node.input[1:]):
            raise Untracked("computes its scale or mean at run time")
        for name in node.input[1:]:
            walk.cut(name, 0, labels)
    walk.set_labels(node.output[0], axes)


def batch_norm(node: NodeProto, walk: GraphWalk) -> None:
    """Left in training mode, it takes mean and deviation over all positions, as InstanceNormalization does."""
    if int_attribute(node, "training_mode", 0) or len(node.output) > 1:
        walk.channels(node)
    per_channel(node, walk)


def instance_norm(node: NodeProto, walk: GraphWalk) -> None:
    """Per channel, over all positions: as BatchNormalization, but a position less would change the others."""
    walk.channels(node)
    per_channel(node, walk)


def layer_norm(node: NodeProto, walk: GraphWalk) -> None:
    """Mean and deviation over the last axes: a channel less would change what all others become."""
    axes = walk.labels(node.input[0])
    first = int_attribute(node, "axis", -1) % len(axes)
    reason = f"is normalised across channels by '{node.name}' ({node.op_type})"
    walk.table.freeze_all(axes[first:], reason)
    walk.set_labels(node.output[0], axes)


def across_channels(node: NodeProto, walk: GraphWalk) -> None:
    """LRN, GroupNormalization, MeanVarianceNormalization: each channel is scaled by what its neighbours hold."""
    axes = walk.labels(node.input[0])
    walk.table.freeze_all(axes[1:], f"is normalised with other channels by '{node.name}' ({node.op_type})")
    walk.set_labels(node.output[0], axes)


def within_axis(node: NodeProto, walk: GraphWalk) -> None:
    """Softmax and its kin mix the values along one axis, so that axis keeps its length."""
    axes: AxisLabels = walk.labels(node.input[0])
    default = -1 if walk.opset >= 13 else 1
    axis = next((int(attribute.i) for attribute in node.attribute if attribute.name == "axis"), default)
    mixed = axes[axis:] if walk.opset < 13 else axes[axis : axis + 1 or None]
    walk.table.freeze_all(mixed, f"is compared across channels by '{node.name}' ({node.op_type})")
    walk.set_labels(node.output[0], axes)


RULES = {
    **dict.fromkeys(
        (
            "Abs", "Asinh", "Atan", "Cast", "Ceil", "Celu", "Clip", "Cos", "Dropout", "Elu", "Erf", "Exp", "Floor",
            "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg",
            "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus",
            "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
        ),
        unary,
    ),
    **dict.fromkeys(
        (
            "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min",
            "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
        ),
        broadcast,
    ),
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), layer_norm),
    **dict.fromkeys(("GroupNormalization", "LRN", "LpNormalization", "MeanVarianceNormalization"), across_channels),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), within_axis),
}  # fmt: skip
