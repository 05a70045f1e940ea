"""Operators that move, cut or gather values without computing new ones; and pooling, which leaves channels alone."""

from __future__ import annotations

import numpy as np
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.cuts import AttributeCount, Count, IndexCut
from edgepareto.host.pruning.graph_walk import GraphWalk, Untracked
from edgepareto.host.pruning.normal_form.attributes import int_attribute, ints_attribute
from edgepareto.host.pruning.normal_form.shape_inference import Shape
from edgepareto.host.pruning.operators.carrying_axis import carrying_axis
from edgepareto.host.pruning.operators.reshape_runs import flat_labels, matching_runs, whole_factor
from onnx import NodeProto

__all__ = ["RULES"]


def pool(node: NodeProto, walk: GraphWalk) -> None:
    channels = walk.channels(node)
    if channels is not None and len(node.output) > 1 and walk.readers(node.output[1]):
        raise Untracked("also tells where in all channels it found the values")
    walk.set_axis(node.output[0], 1, channels)


def reduce(node: NodeProto, walk: GraphWalk) -> None:
    """Over height and width it is a pool; over the channels it reads all of them."""
    axes = walk.labels(node.input[0])
    given = ints_attribute(node, "axes") or walk.numbers(node, 1) or []
    if not given and not int_attribute(node, "noop_with_empty_axes", 0):
        given = list(range(len(axes)))
    reduced = {axis % len(axes) for axis in given}
    reason = f"is summed over its channels by '{node.name}' ({node.op_type})"
    walk.table.freeze_all([axes[axis] for axis in reduced], reason)
    kept = [None if axis in reduced else labels for axis, labels in enumerate(axes)]
    if not int_attribute(node, "keepdims", 1):
        kept = [labels for axis, labels in enumerate(kept) if axis not in reduced]
    walk.set_labels(node.output[0], kept)


def transpose(node: NodeProto, walk: GraphWalk) -> None:
    axes = walk.labels(node.input[0])
    order = ints_attribute(node, "perm") or list(reversed(range(len(axes))))
    walk.set_labels(node.output[0], [axes[axis] for axis in order])


def unsqueeze(node: NodeProto, walk: GraphWalk) -> None:
    axes = list(walk.labels(node.input[0]))
    added = ints_attribute(node, "axes") or walk.numbers(node, 1) or []
    rank = len(axes) + len(added)
    for axis in sorted(axis % rank for axis in added):
        axes.insert(axis, None)
    walk.set_labels(node.output[0], axes)


def squeeze(node: NodeProto, walk: GraphWalk) -> None:
    data = node.input[0]
    axes = walk.labels(data)
    removed = ints_attribute(node, "axes") or walk.numbers(node, 1)
    if removed is None:
        if any(labels is not None for labels in axes):
            raise Untracked("drops every axis with a single index, and channels could become one")
        removed = [axis for axis, size in enumerate(walk.shape(data)) if size == 1]
    gone = {axis % len(axes) for axis in removed}
    if any(axes[axis] is not None for axis in gone):
        raise Untracked("drops the channel axis")
    walk.set_labels(node.output[0], [labels for axis, labels in enumerate(axes) if axis not in gone])


def flatten(node: NodeProto, walk: GraphWalk) -> None:
    data = node.input[0]
    shape = walk.shape(data)
    axis = int_attribute(node, "axis", 1)
    axis += len(shape) if axis < 0 else 0
    axes = walk.labels(data)
    walk.set_labels(node.output[0], (flat_labels(shape[:axis], axes[:axis]), flat_labels(shape[axis:], axes[axis:])))


def reshape(node: NodeProto, walk: GraphWalk) -> None:
    """Runs of input axes become runs of output axes; a channel axis may gain neighbours or be torn into blocks."""
    data, output = node.input[0], node.output[0]
    axes = walk.labels(data)
    if all(labels is None for labels in axes):
        walk.set_labels(output, (None,) * len(walk.shape(output)))
        return
    target = walk.numbers(node, 1)
    if target is None:
        raise Untracked("takes sizes that are computed at run time")
    source, result = walk.shape(data), _result_shape(walk, node, target)
    if 0 in result:
        raise Untracked("has no elements")
    made: list[Labels | None] = [None] * len(result)
    for inside, outside in matching_runs(source, result):
        labels = flat_labels([source[i] for i in inside], [axes[i] for i in inside])
        if labels is None:
            continue
        wide = [axis for axis in outside if whole_factor(result[axis]) != 1] or outside[-1:]
        if not wide:
            raise Untracked("drops the channel axis")
        chosen = wide[0]
        if len(wide) > 1:
            torn = labels.reshape([whole_factor(result[axis]) for axis in wide])
            chosen = next((axis for at, axis in enumerate(wide) if _is_repeated(torn, at)), -1)
            if chosen < 0:
                chosen = carrying_axis(walk, output, wide)
            labels = _tied_across(torn, wide.index(chosen), walk)
        made[chosen] = labels
        if target[chosen] > 0 and target[chosen] == len(labels):
            walk.counts.append(Count(tensor=node.input[1], position=chosen, labels=labels))
        elif target[chosen] == 0 and labels is not axes[chosen if chosen < len(axes) else 0]:
            raise Untracked("copies a size that pruning changes")
    walk.set_labels(output, made)


def _is_repeated(torn: Labels, axis: int) -> bool:
    """Whether the labels along this axis are the same at every place of the other axes."""
    rows = np.moveaxis(torn, axis, 0).reshape(torn.shape[axis], -1)
    return bool((rows == rows[:, :1]).all())


def _tied_across(torn: Labels, axis: int, walk: GraphWalk) -> Labels:
    """One label per index of the axis: what stands there along the other axes (a whole head) goes together."""
    rows = np.moveaxis(torn, axis, 0).reshape(torn.shape[axis], -1)
    for column in rows.T[1:]:
        walk.table.join(rows[:, 0], column)
    return rows[:, 0]


def concat(node: NodeProto, walk: GraphWalk) -> None:
    rank = len(walk.shape(node.output[0]))
    chosen = int_attribute(node, "axis", 0) % rank
    parts = [walk.labels(name) for name in node.input]
    made: list[Labels | None] = []
    for axis in range(rank):
        here = [part[axis] for part in parts]
        if all(labels is None for labels in here):
            made.append(None)
        elif axis == chosen:
            filled = [
                _fixed(walk, node, name, axis) if p is None else _alone(walk, name, axis, p)
                for name, p in zip(node.input, here, strict=True)
            ]
            made.append(np.concatenate(filled))
        else:
            made.append(_joined(walk, node, here))
    walk.set_labels(node.output[0], made)


def split(node: NodeProto, walk: GraphWalk) -> None:
    axes = walk.labels(node.input[0])
    chosen = int_attribute(node, "axis", 0) % len(axes)
    labels = axes[chosen]
    if labels is None:
        for name in node.output:
            walk.set_labels(name, axes)
        return
    _alone(walk, node.input[0], chosen, labels)
    in_attribute = ints_attribute(node, "split")
    sizes = in_attribute or walk.numbers(node, 1)
    if sizes is None:
        raise Untracked("cuts the channels into equal parts")
    pieces = np.split(labels, np.cumsum(sizes)[:-1])
    for position, (name, piece) in enumerate(zip(node.output, pieces, strict=True)):
        walk.table.mark_block(piece)
        if in_attribute:
            walk.counts.append(AttributeCount(node=walk.node, attribute="split", position=position, labels=piece))
        else:
            walk.counts.append(Count(tensor=node.input[1], position=position, labels=piece))
        walk.set_labels(name, [piece if axis == chosen else part for axis, part in enumerate(axes)])


def gather(node: NodeProto, walk: GraphWalk) -> None:
    """A list of channels is renumbered when channels go; an embedding's table has its own channels."""
    data, indices = node.input[0], node.input[1]
    shape = walk.shape(data)
    axis = int_attribute(node, "axis", 0) % len(shape)
    axes = walk.labels(data)
    chosen = axes[axis]
    made: list[Labels | None] = [*axes[:axis], *walk.labels(indices), *axes[axis + 1 :]]
    table = walk.constant(data)
    if table is not None:
        if table.ndim == 2 and axis == 0 and table.dtype.kind == "f":
            features = walk.table.fresh(table.shape[1])
            walk.cut(data, 1, features)
            walk.owners.append((features, node.name))
            made[-1] = features
    elif chosen is not None:
        _alone(walk, data, axis, chosen)
        positions = walk.constant(indices)
        if positions is None or positions.ndim != 1:
            raise Untracked("picks single channels")
        places = positions.reshape(-1) % len(chosen)
        taken = chosen[places]
        walk.table.mark_block(taken)
        walk.cuts.append(IndexCut(tensor=indices, source=chosen, labels=taken))
        made[axis] = taken
    walk.set_labels(node.output[0], made)


def slice_(node: NodeProto, walk: GraphWalk) -> None:
    axes = list(walk.labels(node.input[0]))
    of_old = [ints_attribute(node, name) for name in ("starts", "ends", "axes")]  # attributes up to opset 9
    starts, ends, chosen = (a or walk.numbers(node, position) for position, a in enumerate(of_old, start=1))
    assert starts is not None, "Slice has starts"
    assert ends is not None, "Slice has ends"
    chosen = chosen or list(range(len(starts)))
    steps = walk.numbers(node, 4) or [1] * len(starts)
    for position, axis in enumerate(chosen):
        labels = axes[axis]
        if labels is None:
            continue
        _alone(walk, node.input[0], axis, labels)
        if steps[position] != 1:
            raise Untracked("takes every n-th channel")
        start, end, _ = slice(starts[position], ends[position]).indices(len(labels))
        if end <= start:
            raise Untracked("takes no channel at all")
        for place, name, bound, at in ((1, "starts", starts[position], start), (2, "ends", ends[position], end)):
            before, behind = labels[:at], labels[at:] if bound < 0 else None
            walk.counts.append(
                AttributeCount(node=walk.node, attribute=name, position=position, labels=before, behind=behind)
                if of_old[0]
                else Count(tensor=node.input[place], position=position, labels=before, behind=behind)
            )
        axes[axis] = labels[start:end]
        walk.table.mark_block(labels[start:end])
    walk.set_labels(node.output[0], axes)


def pad(node: NodeProto, walk: GraphWalk) -> None:
    axes = walk.labels(node.input[0])
    amounts = ints_attribute(node, "pads") or walk.numbers(node, 1) or []
    chosen = walk.numbers(node, 3) or list(range(len(axes)))
    half = len(amounts) // 2
    for position, axis in enumerate(chosen):
        if axes[axis] is not None and (amounts[position] or amounts[half + position]):
            raise Untracked("pads the channel axis")
    walk.set_labels(node.output[0], axes)


def _result_shape(walk: GraphWalk, node: NodeProto, target: list[int]) -> Shape:
    inferred = walk.shape(node.output[0])
    source = walk.shape(node.input[0])
    result: list[int | str | None] = []
    for position, size in enumerate(target):
        if size > 0:
            result.append(size)
        elif size == 0 and not int_attribute(node, "allowzero", 0):
            result.append(source[position])
        else:
            result.append(inferred[position])
    return tuple(result)


def _alone(walk: GraphWalk, name: str, axis: int, labels: Labels) -> Labels:
    """Where a Reshape merged the batch into the axis, a piece of it is no set of channels."""
    if walk.shape(name)[axis] != len(labels):
        raise Untracked("takes apart an axis that holds channels of many samples")
    return labels


def _fixed(walk: GraphWalk, node: NodeProto, name: str, axis: int) -> Labels:
    """Labels for a part that cannot be cut (the model's input, a constant)."""
    labels = walk.table.fresh(walk.size(name, axis))
    walk.table.freeze(labels, f"is joined by '{node.name}' ({node.op_type}) to a tensor that cannot be cut")
    return labels


def _joined(walk: GraphWalk, node: NodeProto, parts: list[Labels | None]) -> Labels:
    labelled = [labels for labels in parts if labels is not None]
    for other in labelled[1:]:
        walk.table.join(labelled[0], other)
    if len(labelled) < len(parts):
        walk.table.freeze(labelled[0], f"is joined by '{node.name}' ({node.op_type}) to a tensor that cannot be cut")
    return labelled[0]


RULES = {
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"), pool),
    **dict.fromkeys(
        (
            "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
            "ReduceProd", "ReduceSum", "ReduceSumSquare",
        ),
        reduce,
    ),
    "Concat": concat,
    "Flatten": flatten,
    "Gather": gather,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}  # fmt: skip
