"""What known architectures consist of: windows, class tokens, patches, shared keys, written-out norms."""

from __future__ import annotations

import math

import numpy as np
from models.random_graphs.builder import Builder, Rule, Tensor
from models.random_graphs.layers import conv, matmul

__all__ = ["ON_MAPS", "ON_SEQUENCES"]


def patches(net: Builder, data: Tensor) -> Tensor:
    """Every other pixel, from four starts (YOLO's Focus); the channels stand there four times."""
    parts = []
    for top, left in ((0, 0), (1, 0), (0, 1), (1, 1)):
        bounds = ([top, left], [2**63 - 1, 2**63 - 1], [2, 3], [2, 2])
        parts.append(net.node("Slice", data, *map(net.constant, bounds)))
    if len({part.shape for part in parts}) > 1:
        return conv(net, data)
    return conv(net, net.node("Concat", *parts, axis=1))


def to_the_size_of(net: Builder, data: Tensor) -> Tensor:
    """Resized to another map, whose size is read at run time."""
    maps = [tensor for tensor in net.pool if len(tensor.shape) == 4]
    other = maps[net.pick(len(maps))]
    front = net.node("Slice", net.node("Shape", data), *(net.constant([at]) for at in (0, 2)))
    back = net.node("Slice", net.node("Shape", other), *(net.constant([at]) for at in (2, 4)))
    empty = net.constant(np.zeros(0))
    made = net.node("Resize", data, empty, empty, net.node("Concat", front, back, axis=0), mode="nearest")
    return Tensor(name=made.name, shape=(*data.shape[:2], *other.shape[2:]))


def detection_head(net: Builder, data: Tensor) -> list[Tensor]:
    """Anchors torn out of the channels and put last, then a Split of what each of them says."""
    anchors, values = 1 + net.pick(3), 3
    _, channels, height, width = data.shape
    weight = net.normal(anchors * values, channels, 1, 1, scale=1 / math.sqrt(channels))
    torn = net.reshaped(net.node("Conv", data, weight), anchors, values, height * width)
    torn = net.reshaped(net.node("Transpose", torn, perm=[0, 1, 3, 2]), anchors * height * width, values)
    if net.opset < 13:
        return net.nodes_outputs("Split", [torn], 2, axis=2, split=[1, 2])
    return net.nodes_outputs("Split", [torn, net.constant([1, 2])], 2, axis=-1)


def windows(net: Builder, data: Tensor) -> Tensor:
    """Swin: windows of 2 x 2 become sequences on the axis of the batch, and go back."""
    _, channels, height, width = data.shape
    if height % 2 or width % 2:
        return conv(net, data)
    last = net.node("Transpose", data, perm=[0, 2, 3, 1])
    if net.pick(2):  # a cyclic shift
        first, rest = (net.constant(bounds) for bounds in ([0], [1]))
        end, axis = net.constant([2**63 - 1]), net.constant([1])
        parts = net.node("Slice", last, rest, end, axis), net.node("Slice", last, first, rest, axis)
        last = net.node("Concat", *parts, axis=1)
    torn = net.reshaped(last, height // 2, 2, width // 2, 2, channels)
    torn = net.node("Transpose", torn, perm=[0, 1, 3, 2, 4, 5])
    of_windows = matmul(net, net.node("Reshape", torn, net.constant([-1, 4, channels])))
    outputs = of_windows.shape[-1]
    back = net.node("Reshape", of_windows, net.constant([-1, height // 2, width // 2, 2, 2, outputs]))
    back = net.reshaped(net.node("Transpose", back, perm=[0, 1, 3, 2, 4, 5]), height, width, outputs)
    return net.node("Transpose", back, perm=[0, 3, 1, 2])


def written_out_norm(net: Builder, data: Tensor) -> Tensor:
    """LayerNorm, or the root of the mean square, as exporters of old opsets write it."""
    net.quiet = False
    axis = -1 if net.pick(3) else 1
    if net.pick(2):
        data = net.node("Sub", data, net.with_axes("ReduceMean", data, [axis], since=18, keepdims=1))
    square = net.node("Pow", data, net.constant(2.0))
    variance = net.with_axes("ReduceMean", square, [axis], since=18, keepdims=1)
    made = net.node("Div", data, net.node("Sqrt", net.node("Add", variance, net.constant(0.1))))
    size = (data.shape[1], *[1] * (len(data.shape) - 2)) if axis == 1 else (data.shape[-1],)
    return net.node("Add", net.node("Mul", made, net.positive(*size)), net.normal(*size))


def class_token(net: Builder, data: Tensor) -> Tensor:
    rows = net.node("Gather", net.node("Shape", data), net.constant([0]))
    target = net.node("Concat", rows, net.constant([1, data.shape[2]]), axis=0)
    token = net.node("Expand", net.normal(1, 1, data.shape[2]), target)
    net.quiet = False
    made = net.node("Concat", Tensor(name=token.name, shape=(net.rows, 1, data.shape[2])), data, axis=1)
    return Tensor(name=made.name, shape=(net.rows, data.shape[1] + 1, data.shape[2]))


def shared_keys(net: Builder, data: Tensor) -> Tensor:
    """Several heads of queries read one head of keys and values, which is repeated, or broadcast."""
    _, tokens, features = data.shape
    heads, size = 2 + net.pick(2), 1 + net.pick(3)

    def made(width: int) -> Tensor:
        return net.node("MatMul", data, net.normal(features, width, scale=1 / math.sqrt(features)))

    query = net.node("Transpose", net.reshaped(made(heads * size), tokens, heads, size), perm=[0, 2, 1, 3])
    key, value = (net.with_axes("Unsqueeze", made(size), [1]) for _ in range(2))
    if net.pick(2):
        key, value = (net.node("Expand", part, net.constant([1, heads, 1, 1])) for part in (key, value))
    scores = net.node("MatMul", query, net.node("Transpose", key, perm=[0, 1, 3, 2]))
    mixed = net.node("Transpose", net.node("MatMul", net.node("Softmax", scores, axis=3), value), perm=[0, 2, 1, 3])
    return matmul(net, net.reshaped(mixed, tokens, heads * size))


def rotated(net: Builder, data: Tensor) -> Tensor:
    """Rotary positions: the halves of the features change places."""
    size = data.shape[2]
    bounds = [([0], [size // 2]), ([size // 2], [size])]
    if size % 2:
        return matmul(net, data)
    left, right = (net.node("Slice", data, *map(net.constant, (*pair, [2]))) for pair in bounds)
    turned = net.node("Concat", net.node("Neg", right), left, axis=2)
    tokens = data.shape[1]
    cosine, sine = net.normal(tokens, size), net.normal(tokens, size)
    return net.node("Add", net.node("Mul", data, cosine), net.node("Mul", turned, sine))


def constant_product(net: Builder, data: Tensor) -> Tensor:
    """A constant on the left, which mixes tokens; or on the right, but of three axes."""
    if net.pick(2):
        return net.node("MatMul", net.normal(net.width(), data.shape[1], scale=0.5), data)
    return net.node("MatMul", data, net.normal(1, data.shape[2], net.width(), scale=0.5))


def masked(net: Builder, data: Tensor) -> Tensor:
    """Scores between tokens, of which a constant mask takes some away."""
    turned = net.node("Transpose", data, perm=[0, 2, 1])
    net.sums = True
    scores = net.node("Tanh", net.node("MatMul", data, turned))
    mask = net.constant(np.tri(data.shape[1]), "bool")
    weights = net.node("Softmax", net.node("Where", mask, scores, net.constant(-1e9)), axis=2)
    return net.node("MatMul", weights, data)


ON_MAPS: tuple[Rule, ...] = (patches, to_the_size_of, detection_head, windows, written_out_norm)
ON_SEQUENCES: tuple[Rule, ...] = (
    written_out_norm, class_token, shared_keys, shared_keys, rotated, rotated, constant_product, masked,
)  # fmt: skip
