"""Operators that read along one axis, which therefore keeps its length, and leave the others to themselves."""

from __future__ import annotations

from edgepareto.host.pruning.graph_walk import GraphWalk
from edgepareto.host.pruning.normal_form.attributes import int_attribute
from onnx import NodeProto

__all__ = ["RULES"]


def search(node: NodeProto, walk: GraphWalk) -> None:
    """ArgMax, ArgMin: the place of a channel among all others."""
    axes = list(walk.labels(node.input[0]))
    axis = int_attribute(node, "axis", 0) % len(axes)
    _freeze(node, walk, axis)
    if int_attribute(node, "keepdims", 1):
        axes[axis] = None
    else:
        del axes[axis]
    walk.set_labels(node.output[0], axes)


def best(node: NodeProto, walk: GraphWalk) -> None:
    """TopK: values and places."""
    axes = list(walk.labels(node.input[0]))
    axis = int_attribute(node, "axis", -1) % len(axes)
    _freeze(node, walk, axis)
    axes[axis] = None
    for name in node.output:
        if name:
            walk.set_labels(name, axes)


def _freeze(node: NodeProto, walk: GraphWalk, axis: int) -> None:
    labels = walk.labels(node.input[0])[axis]
    if labels is not None:
        walk.table.freeze(labels, f"is compared across channels by '{node.name}' ({node.op_type})")


RULES = {
    **dict.fromkeys(("ArgMax", "ArgMin"), search),
    "TopK": best,
}
