"""Which axis keeps the channels when a Reshape tears them into several, such as (3, heads, features of a head).

All channels at one index of the chosen axis then go together, so any choice is sound. The best is the one that later
nodes never mix: the heads of attention are a leading axis of its MatMuls, the features of a head are summed over, and
the 3 of query, key and value is picked apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgepareto.host.pruning.graph_walk import GraphWalk, Untracked
from edgepareto.host.pruning.normal_form.attributes import int_attribute, ints_attribute
from edgepareto.host.pruning.normal_form.shape_inference import Shape
from edgepareto.host.pruning.operators.reshape_runs import matching_runs, whole_factor
from onnx import NodeProto

__all__ = ["carrying_axis"]

NODES_AHEAD = 64
LEADING, MIXED = 2, -1  # a vote for and against


def carrying_axis(walk: GraphWalk, tensor: str, axes: Sequence[int]) -> int:
    """One of these axes of the tensor: the one with most in favour, the outermost among equals."""
    votes = dict.fromkeys(axes, 0)
    waiting: list[tuple[str, dict[int, int]]] = [(tensor, {axis: axis for axis in axes})]
    for _ in range(NODES_AHEAD):
        if not waiting:
            break
        name, places = waiting.pop(0)
        for node in walk.readers(name):
            rank = len(walk.all_shape(name))
            for axis, place in places.items():
                votes[axis] += _vote(node, name, place, rank, walk)
            made = len(walk.all_shape(node.output[0]))
            after = {axis: _after(node, place, rank, walk) for axis, place in places.items()}
            moved = {axis: place for axis, place in after.items() if 0 <= place < made}
            if moved:
                waiting.extend((output, moved) for output in node.output if len(walk.all_shape(output)) == made)
    return max(axes, key=lambda axis: (votes[axis], -axis))


def _vote(node: NodeProto, name: str, place: int, rank: int, walk: GraphWalk) -> int:
    if node.op_type == "MatMul":
        summed = rank - 1 if name == node.input[0] else rank - 2
        return LEADING if place < rank - 2 else MIXED if place == summed else 0
    if node.op_type in ("Gather", "Split", "Softmax"):
        mixed = int_attribute(node, "axis", -1 if node.op_type == "Softmax" else 0) % rank
        return MIXED if place == mixed else 0
    if node.op_type == "Slice":
        axes = walk.constant(node.input[3]) if len(node.input) > 3 else None
        return MIXED if axes is not None and place in axes % rank else 0
    return 0


def _after(node: NodeProto, place: int, rank: int, walk: GraphWalk) -> int:
    """Where the axis stands in the node's output; -1: it is gone, or cannot be followed."""
    if node.op_type == "Transpose":
        return (ints_attribute(node, "perm") or list(reversed(range(rank)))).index(place)
    if node.op_type == "Gather":
        axis = int_attribute(node, "axis", 0) % rank
        gained = len(walk.all_shape(node.input[1])) - 1
        return -1 if place == axis and gained < 0 else place + (gained if place > axis else 0)
    if node.op_type in ("Squeeze", "Unsqueeze"):
        value = walk.constant(node.input[1]) if len(node.input) > 1 else None
        given = ints_attribute(node, "axes") or ([] if value is None else [int(axis) for axis in value.reshape(-1)])
        if node.op_type == "Squeeze":
            gone = [axis % rank for axis in given]
            return -1 if place in gone else place - sum(axis < place for axis in gone)
        for axis in sorted(axis % (rank + len(given)) for axis in given):
            place += axis <= place
        return place
    if node.op_type == "MatMul":
        return place
    output = walk.all_shape(node.output[0])
    if node.op_type == "Reshape":
        return _after_reshape(walk.all_shape(node.input[0]), output, place)
    if len(output) >= rank and node.op_type not in ("Flatten", "Expand", "Tile", "Concat"):
        return place + len(output) - rank
    return -1


def _after_reshape(source: Shape, result: Shape, place: int) -> int:
    """The one axis of the same run that has as many indices, whatever batch it is repeated for."""
    try:
        run = next(run for run in matching_runs(source, result) if place in run[0])
    except Untracked:
        return -1
    same = [axis for axis in run[1] if whole_factor(result[axis]) == whole_factor(source[place])]
    return same[0] if len(same) == 1 else -1
