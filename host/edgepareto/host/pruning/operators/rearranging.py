"""Operators that copy channels to another place, copy them several times, or count them."""

from __future__ import annotations

import numpy as np
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.cuts import Count
from edgepareto.host.pruning.graph_walk import GraphWalk, Untracked
from edgepareto.host.pruning.normal_form.attributes import int_attribute, ints_attribute, text_attribute
from onnx import NodeProto

__all__ = ["RULES"]


def measure(node: NodeProto, walk: GraphWalk) -> None:
    """Shape, Size: harmless where only sizes are read that pruning leaves alone."""
    axes = walk.labels(node.input[0])
    if any(axes[axis] is not None for axis in _asked(node, len(axes), walk)):
        raise Untracked("counts its channels at run time")


def _asked(node: NodeProto, rank: int, walk: GraphWalk) -> set[int]:
    """Axes whose size somebody reads, here or with a Gather or Slice of all sizes."""
    everything = set(range(rank))
    if node.op_type == "Size" or walk.is_output(node.output[0]):
        return everything
    start, end = int_attribute(node, "start", 0), int_attribute(node, "end", rank)
    sizes = list(range(rank))[start:end]
    asked: set[int] = set()
    for reader in walk.readers(node.output[0]):
        picked = _picked(reader, node.output[0], walk)
        if picked is None:
            return set(sizes)
        asked.update(np.asarray(sizes)[picked].reshape(-1).tolist())
    return asked


def _picked(reader: NodeProto, sizes: str, walk: GraphWalk) -> Labels | slice | None:
    """An index into the sizes; None: any of them may be read."""
    if reader.op_type == "Gather" and reader.input[0] == sizes:
        chosen = walk.constant(reader.input[1])
        return None if chosen is None else chosen.astype(np.int64)
    if reader.op_type == "Slice" and reader.input[0] == sizes:
        starts, ends = ints_attribute(reader, "starts"), ints_attribute(reader, "ends")
        if starts and ends:
            return slice(starts[0], ends[0])
        bounds = [walk.constant(name) for name in reader.input[1:] if name]
        numbers = [int(bound.reshape(-1)[0]) for bound in bounds if bound is not None and bound.size == 1]
        if len(numbers) == len(bounds):
            return slice(numbers[0], numbers[1], numbers[3] if len(numbers) > 3 else None)
    return None


def expand(node: NodeProto, walk: GraphWalk) -> None:
    """A channel axis keeps its size: the target says 1 there, or a number that is rewritten."""
    axes = walk.labels(node.input[0])
    rank = len(walk.shape(node.output[0]))
    made: list[Labels | None] = [*[None] * (rank - len(axes)), *axes]
    if any(labels is not None for labels in axes):
        target = walk.numbers(node, 1)
        assert target is not None, "Expand has a target"
        for axis in range(-min(rank, len(target)), 0):
            labels = made[axis]
            if labels is None or target[axis] == 1:
                continue
            if target[axis] != len(labels):
                raise Untracked("repeats a single channel")
            walk.counts.append(Count(tensor=node.input[1], position=len(target) + axis, labels=labels))
    walk.set_labels(node.output[0], made)


def tile(node: NodeProto, walk: GraphWalk) -> None:
    """Repeated channels are the same again. Keras repeats pixels so: Unsqueeze, Tile on the new axis, Reshape."""
    axes = walk.labels(node.input[0])
    repeats = walk.numbers(node, 1)
    assert repeats is not None, "Tile has repeats"
    made = [None if labels is None else np.tile(labels, n) for labels, n in zip(axes, repeats, strict=True)]
    walk.set_labels(node.output[0], made)


def resize(node: NodeProto, walk: GraphWalk) -> None:
    """Scales of 1 on the channels copy them; a target size is rewritten."""
    data = node.input[0]
    axes = walk.labels(data)
    if ints_attribute(node, "axes") is not None:
        raise Untracked("resizes chosen axes")
    source, result = walk.shape(data), walk.shape(node.output[0])
    if any(labels is not None and source[axis] != result[axis] for axis, labels in enumerate(axes)):
        raise Untracked("resizes the channel axis")
    sizes = walk.numbers(node, 3)
    for axis, labels in enumerate(axes):
        if labels is not None and sizes is not None:
            walk.counts.append(Count(tensor=node.input[3], position=axis, labels=labels))
    walk.set_labels(node.output[0], axes)


def depth_to_space(node: NodeProto, walk: GraphWalk) -> None:
    """A channel of the output is spread over block x block channels of the input, which go together."""
    channels = walk.channels(node)
    if channels is None:
        return
    spread = int_attribute(node, "blocksize", 1) ** 2
    rows = channels.reshape(spread, -1) if _depth_first(node) else channels.reshape(-1, spread).T
    for row in rows[1:]:
        walk.table.join(rows[0], row)
    walk.set_axis(node.output[0], 1, rows[0])


def space_to_depth(node: NodeProto, walk: GraphWalk) -> None:
    """All channels for every place in the block again, or every channel for all places."""
    channels = walk.channels(node)
    if channels is None:
        return
    places = int_attribute(node, "blocksize", 1) ** 2
    copied = np.tile(channels, places) if _depth_first(node) else np.repeat(channels, places)
    walk.set_axis(node.output[0], 1, copied)


def _depth_first(node: NodeProto) -> bool:
    """Whether places are the outer and channels the inner index."""
    return text_attribute(node, "mode", "DCR") == "DCR"


RULES = {
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    **dict.fromkeys(("Resize", "Upsample"), resize),
    "Shape": measure,
    "Size": measure,
    "SpaceToDepth": space_to_depth,
    "Tile": tile,
}
