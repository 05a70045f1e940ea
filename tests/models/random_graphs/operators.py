"""Rules that compute without weights: activations, sums of several tensors, normalisation, pooling."""

from __future__ import annotations

from models.random_graphs.builder import Builder, Rule, Tensor
from onnx import TensorProto

__all__ = ["ANYWHERE", "ON_MAPS", "ON_ROWS", "ON_SEQUENCES", "WILD"]

ACTIVATIONS = {  # operator: the first opset that has it
    "Relu": 7, "LeakyRelu": 7, "Elu": 7, "Selu": 7, "Tanh": 7, "Softsign": 7, "ThresholdedRelu": 10, "Celu": 12,
    "HardSwish": 14, "Mish": 18, "Gelu": 20, "Neg": 7, "Abs": 7, "Identity": 7, "Erf": 9, "Sign": 9, "Floor": 7,
    "Round": 11, "Dropout": 12,
}  # fmt: skip
LOUD = ("Sigmoid", "HardSigmoid", "Softplus")  # of zero they make something else
REDUCTIONS = ("ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp")


def active(net: Builder, data: Tensor) -> Tensor:
    return net.node(net.one_of(*(op for op, since in ACTIVATIONS.items() if since <= net.opset)), data)


def loudly_active(net: Builder, data: Tensor) -> Tensor:
    net.quiet = False
    return net.node(net.one_of(*LOUD), data)


def clipped(net: Builder, data: Tensor) -> Tensor:
    return net.node("Clip", data, net.constant(-1.0), net.constant(3.0))


def met(net: Builder, data: Tensor) -> Tensor:
    other = net.like(data)
    if not net.pick(8):
        return net.node(net.one_of("Sum", "Mean", "Max"), data, other, net.like(data))
    op = net.one_of("Add", "Add", "Add", "Sub", "Max", "Min", "Mul")
    made = net.node(op, data, other)
    return net.node("Tanh", made) if op == "Mul" else made


def chosen(net: Builder, data: Tensor) -> Tensor:
    other = net.like(data)
    return net.node("Where", net.node(net.one_of("Greater", "Less"), data, other), data, other)


def with_constant(net: Builder, data: Tensor) -> Tensor:
    """Any of its axes may be as long as the tensor's, or 1; leading ones may be missing."""
    shape = [size if net.pick(2) else 1 for size in data.shape[1:]]
    shape = shape[net.pick(len(shape)) :]
    op = net.one_of("Add", "Mul", "Max", "Sub")
    net.quiet &= op == "Mul"
    pair = (data, net.normal(*shape))
    return net.node(op, *(pair if net.pick(2) else pair[::-1]))


def scaled(net: Builder, data: Tensor) -> Tensor:
    return net.node(net.one_of("Div", "Mul"), data, net.constant(1.5))


def broadcast(net: Builder, data: Tensor) -> Tensor:
    """With a row or a map of one pixel as wide as the channels, a map of one channel, or a mean."""
    rows, channels, height, width = data.shape
    fitting = [
        tensor
        for tensor in net.pool
        if tensor.shape in ((rows, channels), (rows, channels, 1, 1), (rows, 1, height, width))
    ]
    other = fitting[net.pick(len(fitting))] if fitting else data
    if len(other.shape) == 2:
        other = net.with_axes("Unsqueeze", other, [2, 3])
    elif not fitting:
        other = net.with_axes("ReduceMean", data, [net.axis(data)], since=18, keepdims=1)
    net.quiet = False
    return net.node(net.one_of("Add", "Sub", "Max"), data, other)


def per_channel(net: Builder, data: Tensor) -> Tensor:
    channels = data.shape[1]
    op = net.one_of("BatchNormalization", "BatchNormalization", "InstanceNormalization", "PRelu")
    net.quiet &= len(data.shape) != 3  # the channels may be on the last axis
    if op == "PRelu":
        return net.node("PRelu", data, net.positive(*(1,) * net.pick(2), channels, *(1,) * (len(data.shape) - 2)))
    parts = [net.positive(channels), net.normal(channels, scale=0.1)]
    if op == "InstanceNormalization" and len(data.shape) > 2:
        return net.node(op, data, *parts, epsilon=0.1)
    return net.node("BatchNormalization", data, *parts, net.normal(channels, scale=0.1), net.positive(channels))


def across_channels(net: Builder, data: Tensor) -> Tensor:
    op = net.one_of("LRN", "LpNormalization", "MeanVarianceNormalization", "GroupNormalization")
    net.quiet = False
    if op == "LpNormalization":
        return net.node(op, net.node("Add", data, net.constant(0.1)), axis=net.axis(data))
    if op == "GroupNormalization" and net.opset >= 21 and data.shape[1] % 2 == 0:
        parts = [net.positive(data.shape[1]), net.normal(data.shape[1])]
        return net.node(op, data, *parts, num_groups=2, epsilon=0.1)
    if op == "MeanVarianceNormalization" and min(data.shape[2:]) > 1 and net.opset >= 13:
        return net.node(op, data, axes=[2, 3])
    return net.node("LRN", data, size=3, alpha=0.1)


def group_norm(net: Builder, data: Tensor) -> Tensor:
    """As torch writes it for old opsets: the groups are the channels of an InstanceNormalization."""
    _, channels, height, width = data.shape
    group = next(size for size in (3, 2, 1) if channels % size == 0)
    net.quiet = False
    torn = net.reshaped(data, group, channels // group * height * width)
    torn = net.node("InstanceNormalization", torn, net.positive(group), net.normal(group), epsilon=0.1)
    whole = net.node("Reshape", torn, net.node("Shape", data))
    whole = Tensor(name=whole.name, shape=data.shape)
    return net.node("Add", net.node("Mul", whole, net.positive(channels, 1, 1)), net.normal(channels, 1, 1))


def gated_linear(net: Builder, data: Tensor) -> Tensor:
    """One half of the channels opens and closes the other."""
    if data.shape[1] % 2:
        return active(net, data)
    more = {"num_outputs": 2} if net.opset >= 18 else {}
    left, right = net.nodes_outputs("Split", [data], 2, axis=1, **more)
    return net.node("Mul", left, net.node("Sigmoid", right))


def layer_norm(net: Builder, data: Tensor) -> Tensor:
    if net.opset < 17:
        return with_constant(net, data)
    net.quiet = False
    parts = [net.positive(data.shape[-1]), net.normal(data.shape[-1], scale=0.1)]
    return net.node("LayerNormalization", data, *parts, axis=-1, epsilon=0.1)


def softmax(net: Builder, data: Tensor) -> Tensor:
    net.quiet = False
    return net.node(net.one_of("Softmax", "LogSoftmax"), data, axis=net.axis(data))


def pooled(net: Builder, data: Tensor) -> Tensor:
    form = net.pick(4)
    if form == 0 or min(data.shape[2:]) < 2:
        return net.node(net.one_of("GlobalAveragePool", "GlobalMaxPool"), data)
    op = net.one_of("MaxPool", "AveragePool", "LpPool")
    placed = [{"strides": [2, 2]}, {}, {"pads": [0, 0, 1, 1]}][form - 1]
    return net.node(op, data, kernel_shape=[2, 2], **placed)


def to_a_row(net: Builder, data: Tensor) -> Tensor:
    """The usual end of a trunk, with the axes named or not."""
    single = net.node("GlobalAveragePool", data)
    if not net.pick(3):
        return net.node("Flatten", single)
    safe = net.rows > 1 and data.shape[1] > 1 and not net.pick(3)
    made = net.node("Squeeze", single) if safe else net.with_axes("Squeeze", single, [2, 3])
    return Tensor(name=made.name, shape=data.shape[:2])


def reduced(net: Builder, data: Tensor) -> Tensor:
    """Over one axis, or two."""
    axes = [1 + net.pick(len(data.shape) - 1)]
    if len(data.shape) == 4 and net.pick(2):
        axes = [2, 3] if net.pick(2) else [-1, -2]
    kept = net.pick(2) if len(data.shape) > 2 else 1
    op = net.one_of("ReduceMean", "ReduceMean", "ReduceSum", *REDUCTIONS)
    net.quiet &= op not in ("ReduceProd", "ReduceLogSumExp")
    return net.with_axes(op, data, axes, since=13 if op == "ReduceSum" else 18, keepdims=kept)


def unknown(net: Builder, data: Tensor) -> Tensor:
    """What pruning has no rule for, or one that reads all channels."""
    net.quiet = False
    form = net.pick(4)
    axis = net.axis(data)
    if form == 0:
        return net.nodes_outputs("TopK", [data, net.constant([data.shape[axis]])], 2, axis=axis)[0]
    if form == 1 and len(data.shape) > 2:
        chosen = net.node("ArgMax", data, axis=axis, keepdims=0)
        return net.node("Gather", net.normal(data.shape[axis], 3), chosen)
    if form == 2:
        limited = net.node("Clip", data, net.constant(0.0), net.constant(3.0))
        return net.node("Gather", net.normal(4, 3), net.node("Cast", limited, to=TensorProto.INT64))
    return net.node("CumSum", data, net.constant(axis, "int64"))


ANYWHERE: tuple[Rule, ...] = (
    active,
    active,
    active,
    clipped,
    loudly_active,
    *[met] * 4,
    gated_linear,
    with_constant,
    scaled,
    chosen,
)
ON_MAPS: tuple[Rule, ...] = (per_channel, per_channel, broadcast, pooled, pooled, to_a_row, reduced, group_norm)
ON_SEQUENCES: tuple[Rule, ...] = (per_channel, layer_norm, layer_norm, reduced)
ON_ROWS: tuple[Rule, ...] = (per_channel,)
WILD: tuple[Rule, ...] = (softmax, unknown, reduced)
