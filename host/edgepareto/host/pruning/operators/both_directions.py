"""What a bidirectional LSTM, GRU or RNN puts out: units on one axis, on another the direction that they belong to.

Unit j of one direction has nothing to do with unit j of the other, which labels per axis cannot say. So such a tensor
keeps a (2, units) table of labels through Transpose, Slice, Gather and their kin, until a Reshape puts the directions
side by side or one of them is picked. Any other operator sees unit j of both directions as one channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.cuts import Count
from edgepareto.host.pruning.graph_walk import Directions, GraphWalk
from edgepareto.host.pruning.normal_form.attributes import int_attribute, ints_attribute
from onnx import NodeProto

__all__ = ["following_directions"]

Rule = Callable[[NodeProto, GraphWalk], None]
Follower = Callable[[NodeProto, GraphWalk, Directions], bool]  # False: not such a case, the general rule takes it


def following_directions(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The same rules, which now keep directions apart where they can."""
    return {op: _with_follower(rule, FOLLOWERS[op]) if op in FOLLOWERS else rule for op, rule in rules.items()}


def _with_follower(rule: Rule, follower: Follower) -> Rule:
    def extended(node: NodeProto, walk: GraphWalk) -> None:
        both = walk.directions(node.input[0])
        if both is None or not follower(node, walk, both):
            rule(node, walk)

    return extended


def _transpose(node: NodeProto, walk: GraphWalk, both: Directions) -> bool:
    order = ints_attribute(node, "perm") or list(reversed(range(both.rank)))
    walk.set_directions(
        node.output[0],
        replace(both, direction_axis=order.index(both.direction_axis), unit_axis=order.index(both.unit_axis)),
    )
    return True


def _squeeze(node: NodeProto, walk: GraphWalk, both: Directions) -> bool:
    given = ints_attribute(node, "axes") or walk.numbers(node, 1)
    if given is None:
        return False
    gone = {axis % both.rank for axis in given}
    if both.unit_axis in gone:
        return False
    walk.set_directions(node.output[0], _without(both, gone))
    return True


def _slice(node: NodeProto, walk: GraphWalk, both: Directions) -> bool:
    if ints_attribute(node, "starts") is not None:  # opset 9 and older
        return False
    starts, ends, axes, steps = (walk.numbers(node, position) for position in (1, 2, 3, 4))
    assert starts is not None, "Slice has starts"
    assert ends is not None, "Slice has ends"
    places = [axis % both.rank for axis in axes or range(len(starts))]
    if both.unit_axis in places:
        return False
    if both.direction_axis not in places:
        walk.set_directions(node.output[0], both)
        return True
    cut = places.index(both.direction_axis)
    left = both.labels[starts[cut] : ends[cut] : steps[cut] if steps else 1]
    if len(left) == 1:
        walk.set_labels(node.output[0], _one(both, left[0]))
    else:
        walk.set_directions(node.output[0], replace(both, labels=left))
    return len(left) > 0


def _gather(node: NodeProto, walk: GraphWalk, both: Directions) -> bool:
    axis = int_attribute(node, "axis", 0) % both.rank
    index = walk.constant(node.input[1])
    if axis == both.unit_axis or index is None:
        return False
    if axis != both.direction_axis and index.ndim <= 1:
        walk.set_directions(node.output[0], both if index.ndim else _without(both, {axis}))
        return True
    if index.size != 1 or index.ndim > 1:
        return False
    axes = _one(both, both.labels[int(index.reshape(-1)[0])])
    if index.ndim == 0:
        del axes[axis]
    walk.set_labels(node.output[0], axes)
    return True


def _split(node: NodeProto, walk: GraphWalk, both: Directions) -> bool:
    if int_attribute(node, "axis", 0) % both.rank != both.direction_axis or len(node.output) != len(both.labels):
        return False
    for name, labels in zip(node.output, both.labels, strict=True):
        walk.set_labels(name, _one(both, labels))
    return True


def _reshape(node: NodeProto, walk: GraphWalk, both: Directions) -> bool:
    """(..., directions, units, ...) to (..., directions x units, ...), every other axis as it was."""
    merged = both.direction_axis
    target = walk.numbers(node, 1)
    source = walk.shape(node.input[0])
    if both.unit_axis != merged + 1 or target is None or len(target) != both.rank - 1:
        return False
    for axis, size in enumerate(target):
        origin = axis if axis < merged else axis + 1
        if axis == merged and size not in (-1, both.labels.size):
            return False
        copied = source[axis] if size == 0 else size
        if axis != merged and copied not in (-1, source[origin]):
            return False
    labels = both.labels.reshape(-1)
    if target[merged] > 0:
        walk.counts.append(Count(tensor=node.input[1], position=merged, labels=labels))
    axes: list[Labels | None] = [None] * len(target)
    axes[merged] = labels
    walk.set_labels(node.output[0], axes)
    return True


def _one(both: Directions, labels: Labels) -> list[Labels | None]:
    """Labels per axis of a tensor that holds a single direction."""
    axes: list[Labels | None] = [None] * both.rank
    axes[both.unit_axis] = labels
    return axes


def _without(both: Directions, gone: set[int]) -> Directions:
    """After these other axes are dropped."""
    return replace(
        both,
        rank=both.rank - len(gone),
        direction_axis=both.direction_axis - sum(axis < both.direction_axis for axis in gone),
        unit_axis=both.unit_axis - sum(axis < both.unit_axis for axis in gone),
    )


FOLLOWERS: Mapping[str, Follower] = {
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
}
