"""Rules that write layers with weights."""

from __future__ import annotations

import math

from models.random_graphs.builder import SIDE, Builder, Rule, Tensor

__all__ = ["ON_MAPS", "ON_ROWS", "ON_SEQUENCES", "conv", "head", "matmul"]


def conv(net: Builder, data: Tensor) -> Tensor:
    """Now and then with the weights of an earlier one."""
    outputs, kernel = net.width(), _kernel(net, data)
    shape = (outputs, data.shape[1], kernel, kernel)
    if shape not in net.kernels or net.pick(3):
        net.kernels[shape] = _weights(net, *shape)
    return _convolved(net, data, net.kernels[shape])


def depthwise(net: Builder, data: Tensor) -> Tensor:
    kernel = _kernel(net, data)
    return _convolved(net, data, _weights(net, data.shape[1] * (1 + net.pick(3)), 1, kernel, kernel), data.shape[1])


def grouped(net: Builder, data: Tensor) -> Tensor:
    channels, group, kernel = data.shape[1], 2 + net.pick(3), _kernel(net, data)
    if channels % group:
        doubled = net.node("Concat", data, data, axis=1)
        return _convolved(net, doubled, _weights(net, 2 * (1 + net.pick(4)), channels, kernel, kernel), 2)
    weights = _weights(net, group * (1 + net.pick(4)), channels // group, kernel, kernel)
    return _convolved(net, data, weights, group)


def conv_transpose(net: Builder, data: Tensor) -> Tensor:
    channels = data.shape[1]
    group = (1, 1, 2, channels)[net.pick(4)]
    if max(data.shape[2:]) > SIDE or channels % group:
        return conv(net, data)
    of_group = 1 + net.pick(3)
    weights = [net.normal(channels, of_group, 2, 2, scale=1 / math.sqrt(channels / group))]
    if net.pick(2):
        weights.append(net.normal(of_group * group, scale=0.1))
    return net.node("ConvTranspose", data, *weights, strides=[2, 2], group=group)


def squeeze_excite(net: Builder, data: Tensor) -> Tensor:
    channels, hidden = data.shape[1], 1 + net.pick(4)
    gate = net.with_axes("ReduceMean", data, [2, 3], since=18, keepdims=1)
    gate = net.node("Relu", net.node("Conv", gate, net.normal(hidden, channels, 1, 1), net.normal(hidden)))
    gate = net.node("Conv", gate, net.normal(channels, hidden, 1, 1), net.normal(channels))
    return net.node("Mul", data, net.node(net.one_of("Sigmoid", "HardSigmoid"), gate))


def gemm(net: Builder, data: Tensor) -> Tensor:
    return _gemm(net, data, net.width())


def matmul(net: Builder, data: Tensor) -> Tensor:
    """On the last axis, whatever the rank; channels on another axis then meet the bias."""
    features, outputs = data.shape[-1], net.width()
    made = net.node("MatMul", data, net.normal(features, outputs, scale=1 / math.sqrt(features)))
    if not net.pick(3):
        return made
    net.quiet &= len(data.shape) == 2
    bias = net.normal(outputs, scale=0.1)
    return net.node("Add", *((made, bias) if net.pick(2) else (bias, made)))


def attention(net: Builder, data: Tensor) -> Tensor:
    """query, key and value of their own layers, or of one that is torn into three."""
    _, tokens, features = data.shape
    heads, size = 1 + net.pick(3), 1 + net.pick(3)
    scale = 1 / math.sqrt(features)
    if net.pick(2):
        made = [net.node("MatMul", data, net.normal(features, heads * size, scale=scale)) for _ in range(3)]
        parts = [net.node("Transpose", net.reshaped(part, tokens, heads, size), perm=[0, 2, 1, 3]) for part in made]
    else:
        torn = net.reshaped(net.node("MatMul", data, net.normal(features, 3 * heads * size)), tokens, 3, heads, size)
        torn = net.node("Transpose", torn, perm=[2, 0, 3, 1, 4])
        parts = [net.node("Gather", torn, net.constant(part, "int64"), axis=0) for part in range(3)]
    if net.pick(2):
        return _heads_in_batch(net, parts)
    query, key, value = parts
    scores = net.node("MatMul", query, net.node("Transpose", key, perm=[0, 1, 3, 2]))
    mixed = net.node("MatMul", net.node("Softmax", scores, axis=3), value)
    return matmul(net, net.reshaped(net.node("Transpose", mixed, perm=[0, 2, 1, 3]), tokens, heads * size))


def _heads_in_batch(net: Builder, parts: list[Tensor]) -> Tensor:
    _, heads, tokens, size = parts[0].shape
    query, key, value = (net.node("Reshape", part, net.constant([-1, tokens, size])) for part in parts)
    scores = net.node("MatMul", query, net.node("Transpose", key, perm=[0, 2, 1]))
    mixed = net.node("MatMul", net.node("Softmax", scores, axis=2), value)
    mixed = net.node("Reshape", mixed, net.constant([-1, heads, tokens, size]))
    return matmul(net, net.reshaped(net.node("Transpose", mixed, perm=[0, 2, 1, 3]), tokens, heads * size))


def affinity(net: Builder, data: Tensor) -> Tensor:
    """Tokens times tokens, or features times features, with no weights between."""
    turned = net.node("Transpose", data, perm=[0, 2, 1])
    net.sums = True
    return net.node("Tanh", net.node("MatMul", *((data, turned) if net.pick(2) else (turned, data))))


def einsum(net: Builder, data: Tensor) -> Tensor:
    """A linear layer on the last axis, or tokens times tokens."""
    if net.opset < 12:
        return matmul(net, data)
    if net.pick(2):
        return net.node("Einsum", data, net.normal(net.width(), data.shape[2]), equation="btc,oc->bto")
    net.sums = True
    return net.node("Tanh", net.node("Einsum", data, data, equation="btc,bsc->bts"))


def conv_1d(net: Builder, data: Tensor) -> Tensor:
    """Over whatever is last, which may be features."""
    net.quiet = False
    outputs = net.width()
    made = net.node("Conv", data, net.normal(outputs, data.shape[1], 3, scale=0.5), net.normal(outputs), pads=[1, 1])
    return net.node("Relu", made)


def recurrent(net: Builder, data: Tensor) -> Tensor:
    """All states, or the last one; of one direction or both."""
    steps, features = data.shape[1:]
    op = net.one_of("LSTM", "GRU", "RNN")
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    directions, units = 1 + net.pick(2), 1 + net.pick(5)
    weights = [
        net.normal(directions, gates * units, features, scale=1 / math.sqrt(features)),
        net.normal(directions, gates * units, units, scale=1 / math.sqrt(units)),
    ]
    if net.pick(2):
        weights.append(net.normal(directions, 2 * gates * units, scale=0.1))
    more = {"linear_before_reset": net.pick(2)} if op == "GRU" else {}
    if directions == 1 and not net.pick(3):  # starts from a state that another layer makes
        first = net.node("ReduceMean", data, axes=[1], keepdims=0) if net.opset < 18 else data
        if first is not data:
            state = net.node("MatMul", first, net.normal(features, units))
            empty = [Tensor(name="", shape=())] * (4 - len(weights))
            weights.extend([*empty, net.with_axes("Unsqueeze", state, [0])])
    turned = net.node("Transpose", data, perm=[1, 0, 2])
    direction = ("forward", "bidirectional")[directions - 1]
    every, last = net.nodes_outputs(op, [turned, *weights], 2, hidden_size=units, direction=direction, **more)
    if not net.pick(3):
        return net.node("Transpose", last, perm=[1, 0, 2])
    return net.reshaped(net.node("Transpose", every, perm=[2, 0, 1, 3]), steps, directions * units)


def head(net: Builder, data: Tensor) -> Tensor:
    if len(data.shape) == 4:
        data = net.node("Flatten", net.node("GlobalAveragePool", data))
    elif len(data.shape) == 3:
        data = net.with_axes("ReduceMean", data, [1], since=18, keepdims=0)
    return _gemm(net, data, 4)


def _gemm(net: Builder, data: Tensor, outputs: int) -> Tensor:
    features, turned, form = data.shape[1], net.pick(2), net.pick(4)
    weight = net.normal(*((outputs, features) if turned else (features, outputs)), scale=1 / math.sqrt(features))
    bias = [(), (net.normal(outputs),), (net.normal(1, outputs),), (net.normal(1),)][form]
    net.quiet &= form < 3  # one value for all outputs stays
    return net.node("Gemm", data, weight, *bias, transB=turned, alpha=1.0 if net.pick(4) else 0.5)


def _kernel(net: Builder, data: Tensor) -> int:
    return 3 if min(data.shape[2:]) > 2 and net.pick(3) else 1


def _weights(net: Builder, outputs: int, inputs: int, *kernel: int) -> list[Tensor]:
    weights = [net.normal(outputs, inputs, *kernel, scale=1.4 / math.sqrt(inputs * math.prod(kernel)))]
    return [*weights, net.normal(outputs, scale=0.1)] if net.pick(3) else weights


def _convolved(net: Builder, data: Tensor, weights: list[Tensor], group: int = 1) -> Tensor:
    kernel = weights[0].shape[2]
    placed: list[dict[str, object]] = [
        {"pads": [kernel // 2] * 4},
        {"auto_pad": net.one_of("SAME_UPPER", "SAME_LOWER", "VALID")},
        {"pads": [kernel - 1] * 4, "dilations": [2, 2]},
        {},
    ]
    strides = [1 + (not net.pick(4))] * 2
    made = net.node("Conv", data, *weights, strides=strides, group=group, **placed[net.pick(4)])
    return net.node("Relu", made) if net.pick(2) else made


ON_MAPS: tuple[Rule, ...] = (
    *[conv] * 7, depthwise, depthwise, depthwise, grouped, grouped, grouped, conv_transpose, conv_transpose,
    squeeze_excite,
)  # fmt: skip
ON_SEQUENCES: tuple[Rule, ...] = (
    *[matmul] * 4,
    attention,
    attention,
    recurrent,
    recurrent,
    recurrent,
    affinity,
    einsum,
    conv_1d,
)
ON_ROWS: tuple[Rule, ...] = (gemm,) * 5
