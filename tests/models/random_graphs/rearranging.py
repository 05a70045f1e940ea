"""Rules that move, join, cut and repeat channels."""

from __future__ import annotations

import math

import numpy as np
from models.random_graphs.builder import Builder, Rule, Tensor
from models.random_graphs.layers import matmul

__all__ = ["ANYWHERE", "ON_MAPS", "ON_ROWS", "ON_SEQUENCES", "WILD"]


def concat(net: Builder, data: Tensor) -> Tensor:
    """Two or three, some of them the same one, now and then with a constant."""
    axis = net.axis(data)
    place = axis % len(data.shape)
    others = [tensor for tensor in net.pool if _but(tensor.shape, place) == _but(data.shape, place)] or [data]
    parts = [data, *(others[net.pick(len(others))] for _ in range(1 + net.pick(2)))]
    if isinstance(net.batch, int) and not net.pick(4):
        parts.append(net.normal(*data.shape))
    return net.node("Concat", *(parts if net.pick(2) else parts[::-1]), axis=axis)


def split(net: Builder, data: Tensor) -> list[Tensor]:
    axis, pieces = net.axis(data), 2 + net.pick(2)
    size = data.shape[axis]
    if size < pieces:
        return [data]
    if size % pieces == 0 and net.pick(2):
        more = {"num_outputs": pieces} if net.opset >= 18 else {}
        return net.nodes_outputs("Split", [data], pieces, axis=axis, **more)
    stops = sorted(net.pick(size - pieces + 1) for _ in range(pieces - 1))
    sizes = np.diff([0, *(stop + at + 1 for at, stop in enumerate(stops)), size]).tolist()
    if net.opset < 13:
        return net.nodes_outputs("Split", [data], pieces, axis=axis, split=sizes)
    return net.nodes_outputs("Split", [data, net.constant(sizes)], pieces, axis=axis)


def sliced(net: Builder, data: Tensor) -> Tensor:
    """Bounds counted from either side, or open; rarely every other one."""
    axis = net.axis(data)
    size = data.shape[axis]
    start = net.pick(size)
    end = start + 1 + net.pick(size - start)
    ends = [end, end - size, 2**63 - 1][net.pick(3)] if end == size else [end, end - size][net.pick(2)]
    if ends == 0:
        ends = size
    bounds = ([start - size if net.pick(2) else start], [ends], [axis], [1 if net.pick(6) else 2])
    return net.node("Slice", data, *map(net.constant, bounds))


def gather(net: Builder, data: Tensor) -> Tensor:
    """A permutation, places from the end, repeated ones, or a single one, whose axis then is gone."""
    axis = net.axis(data)
    size = data.shape[axis]
    form = net.pick(4)
    if form == 3 and len(data.shape) > 2:
        return net.node("Gather", data, net.constant(net.pick(size), "int64"), axis=axis)
    places = [net.random.permutation(size), np.arange(size) - size, net.random.integers(-size, size, 1 + size)]
    return net.node("Gather", data, net.constant(places[form % 3]), axis=axis)


def shuffle(net: Builder, data: Tensor) -> Tensor:
    _, channels, height, width = data.shape
    group = next((group for group in (2, 3, 4)[net.pick(3) :] if channels % group == 0), 1)
    torn = net.reshaped(data, group, channels // group, height, width)
    return net.reshaped(net.node("Transpose", torn, perm=[0, 2, 1, 3, 4]), channels, height, width)


def pixels_and_channels(net: Builder, data: Tensor) -> Tensor:
    if data.shape[1] % 4 == 0 and max(data.shape[2:]) <= 6:
        return net.node("DepthToSpace", data, blocksize=2, mode=net.one_of("DCR", "CRD"))
    if data.shape[2] % 2 == data.shape[3] % 2 == 0 and data.shape[1] <= 8:
        return net.node("SpaceToDepth", data, blocksize=2)
    return shuffle(net, data)


def resized(net: Builder, data: Tensor) -> Tensor:
    mode, empty = net.one_of("nearest", "linear"), net.constant(np.zeros(0))
    if net.pick(2) or not isinstance(net.batch, int):
        scales = net.constant([1.0, 1.0, 2.0, 1.0], "float32")
        return net.node("Resize", data, empty, scales, mode=mode)
    sizes = net.constant([net.batch, data.shape[1], 3, 4])
    return net.node("Resize", data, empty, empty, sizes, mode=mode)


def padded(net: Builder, data: Tensor) -> Tensor:
    value = net.pick(2)
    net.quiet &= not value
    pads = net.constant([0, 0, 1, 0, 0, 0, 0, 1])
    return net.node("Pad", data, pads, net.constant(float(value)), mode=net.one_of("constant", "edge"))


def repeated(net: Builder, data: Tensor) -> Tensor:
    """Along one axis, mostly the channels; or spread over height and width."""
    if len(data.shape) == 4 and net.pick(2):
        single = net.node("GlobalMaxPool", data)
        target = [1, data.shape[1] if net.pick(2) else 1, 3, 3]
        return net.node("Expand", single, net.constant(target))
    repeats = [1] * len(data.shape)
    repeats[net.axis(data)] = 2
    return net.node("Tile", data, net.constant(repeats))


def merged(net: Builder, data: Tensor) -> Tensor:
    """Height and width to one axis, which is how a map becomes a sequence; or all axes to one."""
    if net.pick(2):
        return net.node("Flatten", data)
    _, channels, height, width = data.shape
    tokens = net.reshaped(data, channels, height * width)
    return net.node("Transpose", tokens, perm=[0, 2, 1]) if net.pick(3) else tokens


def channels_last_and_back(net: Builder, data: Tensor) -> Tensor:
    """A linear layer over the channels, as Keras and ConvNeXt have it."""
    last = net.node("Transpose", data, perm=[0, 2, 3, 1])
    outputs = net.width()
    made = net.node("MatMul", last, net.normal(data.shape[1], outputs, scale=0.5))
    if net.pick(2):
        made = net.node("Add", made, net.normal(outputs, scale=0.1))
    return net.node("Transpose", made, perm=[0, 3, 1, 2]) if net.pick(4) else made


def widened(net: Builder, data: Tensor) -> Tensor:
    """One more axis, of size 1."""
    axis = 1 + net.pick(len(data.shape))
    return net.with_axes("Unsqueeze", data, [axis if net.pick(2) else axis - len(data.shape) - 1])


def folded(net: Builder, data: Tensor) -> Tensor:
    """Any shape of as many values: axes merged, torn, or both."""
    net.quiet = False
    left, shape = math.prod(data.shape[1:]), []
    for _ in range(net.pick(3)):
        if not net.pick(3) and left % data.shape[1] == 0:
            size = data.shape[1]
        else:
            divisors = [n for n in range(1, left + 1) if left % n == 0]
            size = divisors[net.pick(len(divisors))]
        shape.append(size)
        left //= size
    return net.reshaped(data, *shape, left)


def turned(net: Builder, data: Tensor) -> Tensor:
    net.quiet = False
    orders = {2: [(0, 1)], 3: [(0, 2, 1)], 4: [(0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2)]}[len(data.shape)]
    return net.node("Transpose", data, perm=orders[net.pick(len(orders))])


def _but(shape: tuple[int, ...], axis: int) -> tuple[int, tuple[int, ...]]:
    return len(shape), (*shape[:axis], *shape[axis + 1 :])


ANYWHERE: tuple[Rule, ...] = (concat, concat, split, sliced, gather)
ON_MAPS: tuple[Rule, ...] = (
    concat, shuffle, shuffle, pixels_and_channels, resized, padded, merged, merged, channels_last_and_back, repeated,
)  # fmt: skip
ON_SEQUENCES: tuple[Rule, ...] = (turned, widened)
ON_ROWS: tuple[Rule, ...] = (widened,)
WILD: tuple[Rule, ...] = (matmul, folded, folded, turned, repeated, concat)
