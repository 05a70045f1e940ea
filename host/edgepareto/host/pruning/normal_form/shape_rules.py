"""How each operator's output shape follows from its inputs' shapes, where ONNX's inference gives up.

A rule returns a guess per output, the last one for all that follow; None in it: a size that the rule cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import onnx
from edgepareto.host.pruning.normal_form.symbolic_sizes import Size, Sizes, product_of

__all__ = ["RULES", "Guess", "NamedShape", "resolved_target"]

NamedShape = tuple[Size, ...]
Guess = Sequence["Size | None"]
ONE = Size(Fraction(1))


def _attributes(node: onnx.NodeProto) -> dict[str, onnx.AttributeProto]:
    return {attribute.name: attribute for attribute in node.attribute}


def _axes(node: onnx.NodeProto, values: Sequence[Sizes | None]) -> tuple[int, ...] | None:
    """Of Squeeze and its kin: an attribute, or since opset 13 (18) an input. None: not given, or not known."""
    attribute = _attributes(node).get("axes")
    if attribute is not None:
        return tuple(attribute.ints)
    value = values[1] if len(values) > 1 else None
    return value.numbers if value is not None else None


def _same(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    return [shapes[0]]


def _window(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    """Convolutions and pools keep the batch, and height and width where they pad for it; channels are inferred."""
    data = shapes[0]
    attributes = _attributes(node)
    spatial = len(data) - 2
    if "kernel_shape" in attributes:
        kernel: Sequence[Size] = [Size(Fraction(size)) for size in attributes["kernel_shape"].ints]
    else:
        kernel = shapes[1][2:] if len(shapes) > 1 else ()
    padding = attributes["auto_pad"].s if "auto_pad" in attributes else b"NOTSET"
    strides, dilations, pads = (
        list(attributes[name].ints) if name in attributes else [default] * length
        for name, default, length in (("strides", 1, spatial), ("dilations", 1, spatial), ("pads", 0, 2 * spatial))
    )
    made: list[Size | None] = [data[0], None, *[None] * spatial]
    rounds_up = "ceil_mode" in attributes and attributes["ceil_mode"].i
    if node.op_type == "ConvTranspose" or len(kernel) != spatial or rounds_up:
        return [made]
    for axis, size in enumerate(kernel):
        before, stride = data[2 + axis], strides[axis]
        padded = pads[axis] + pads[spatial + axis] - dilations[axis] * (int(size.factor) - 1)
        if padding in (b"SAME_UPPER", b"SAME_LOWER"):
            padded = stride - 1
        if stride == 1:
            made[2 + axis] = before.plus(Size(Fraction(padded)))
        elif before.number is not None:
            made[2 + axis] = Size(Fraction((before.number + padded - 1) // stride + 1))
    return [made]


def _broadcast(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    rank = max(map(len, shapes))
    made: list[Size | None] = []
    for axis in range(-rank, 0):
        wide = {shape[axis] for shape in shapes if len(shape) >= -axis and shape[axis] != ONE}
        made.append(next(iter(wide)) if len(wide) == 1 else None if wide else ONE)
    return [made]


def _matmul(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    left, right = shapes
    if min(len(left), len(right)) < 2:
        return ()
    leading = _broadcast(node, [left[:-2], right[:-2]], values)[0] if max(len(left), len(right)) > 2 else []
    return [[*leading, left[-2], right[-1]]]


def _gemm(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    attributes = _attributes(node)
    return [[shapes[0][1 if "transA" in attributes and attributes["transA"].i else 0], None]]


def _concat(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    made: list[Size | None] = list(shapes[0])
    axis = _attributes(node)["axis"].i
    total: Size | None = Size(Fraction(0))
    for shape in shapes:
        total = total.plus(shape[axis]) if total is not None else None
    made[axis] = total
    return [made]


def _transpose(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    attributes = _attributes(node)
    order = attributes["perm"].ints if "perm" in attributes else reversed(range(len(shapes[0])))
    return [[shapes[0][axis] for axis in order]]


def _unsqueeze(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    axes = _axes(node, values)
    if axes is None:
        return ()
    made = list(shapes[0])
    rank = len(made) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        made.insert(axis, ONE)
    return [made]


def _squeeze(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    axes = _axes(node, values)
    if axes is None:
        return ()
    gone = {axis % len(shapes[0]) for axis in axes}
    return [[size for axis, size in enumerate(shapes[0]) if axis not in gone]]


def _reduce(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    axes = _axes(node, values)
    if not axes:  # all, or with another attribute none
        return ()
    attributes = _attributes(node)
    gone = {axis % len(shapes[0]) for axis in axes}
    keeps = attributes["keepdims"].i if "keepdims" in attributes else 1
    kept = [ONE if axis in gone else size for axis, size in enumerate(shapes[0])]
    return [kept if keeps else [size for axis, size in enumerate(kept) if axis not in gone]]


def _reshape(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    target = values[1]
    if target is None:
        return ()
    data = shapes[0] if shapes else None
    literal_zero = any(attribute.i for attribute in node.attribute if attribute.name == "allowzero")
    return [resolved_target(target.entries, data, literal_zero=literal_zero)]


def resolved_target(
    entries: Sequence[Size | None], data: NamedShape | None, *, literal_zero: bool = False
) -> list[Size | None]:
    """A Reshape target with its 0 ("copy") and -1 ("the rest") worked out; None: unknown."""
    sizes: list[Size | None] = list(entries)
    rest = Size(Fraction(-1))
    for position, entry in enumerate(sizes):
        if entry is not None and entry.factor == 0 and not literal_zero:
            sizes[position] = data[position] if data is not None and position < len(data) else None
    if rest in sizes:
        left: Size | None = product_of(data) if data is not None else None
        for size in sizes:
            if size != rest:
                left = left.over(size) if left is not None and size is not None else None
        whole = left is not None and left.factor > 0 and left.factor.denominator == 1
        sizes[sizes.index(rest)] = left if whole else None
    return sizes


def _expand(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    target = values[1]
    if target is None or None in target.entries:
        return ()
    return _broadcast(node, [shapes[0], tuple(size for size in target.entries if size is not None)], values)


def _flatten(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    attributes = _attributes(node)
    axis = attributes["axis"].i if "axis" in attributes else 1
    return [[product_of(shapes[0][:axis]), product_of(shapes[0][axis:])]]


def _gather(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    attributes = _attributes(node)
    data, indices = shapes
    axis = (attributes["axis"].i if "axis" in attributes else 0) % len(data)
    return [[*data[:axis], *indices, *data[axis + 1 :]]]


def _split(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    attributes = _attributes(node)
    axis = attributes["axis"].i if "axis" in attributes else 0
    made: list[Size | None] = list(shapes[0])
    made[axis] = None
    return [made]


def _slice(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    """Axes that are not sliced stay; so do those cut in a way that numbers tell."""
    attributes = {name: Sizes(tuple(Size(Fraction(n)) for n in a.ints)) for name, a in _attributes(node).items()}
    rank = len(shapes[0])
    starts, ends, axes = (
        attributes.get(name) or (values[position] if position < len(values) else None)
        for position, name in ((1, "starts"), (2, "ends"), (3, "axes"))
    )
    sliced = tuple(range(rank)) if len(node.input) < 4 and "axes" not in attributes else axes.numbers if axes else None
    if starts is None or ends is None or sliced is None:
        return ()
    steps = values[4] if len(values) > 4 else None
    made: list[Size | None] = list(shapes[0])
    for position, axis in enumerate(sliced[: len(starts.entries)]):
        size = made[axis]
        first, last = starts.entries[position], ends.entries[position]
        stride = ONE if len(values) < 5 else steps.entries[position] if steps is not None else None
        step = stride.number if stride is not None else None
        bounds = tuple(bound.number if bound is not None else None for bound in (first, last, size))
        made[axis] = None
        if step == 1 and first is not None and first.number == 0 and (last == size or _is_open(last)):
            made[axis] = size
        elif step is not None and None not in bounds:
            start, end, length = (int(bound or 0) for bound in bounds)
            made[axis] = Size(Fraction(len(range(length)[start:end:step])))
    return [made]


def _is_open(end: Size | None) -> bool:
    """Exporters write the largest integer for "to the end"."""
    return end is not None and not end.symbols and end.factor >= 2**31 - 1


def _resize(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    data = shapes[0]
    if "axes" in _attributes(node):
        return ()
    sizes = values[3] if len(values) > 3 else None
    if sizes is not None and len(sizes.entries) == len(data):
        return [sizes.entries]
    scales = values[1] if len(values) == 2 else values[2] if len(values) > 2 else None
    if scales is None or len(scales.entries) != len(data):
        return ()
    scaled = [a.times(b) if b is not None else None for a, b in zip(data, scales.entries, strict=True)]
    return [[size if size is not None and size.factor.denominator == 1 else None for size in scaled]]


def _pad(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    attribute = _attributes(node).get("pads")
    value = values[1] if len(values) > 1 else None
    pads = tuple(attribute.ints) if attribute is not None else value.numbers if value is not None else None
    rank = len(shapes[0])
    if pads is None or len(pads) != 2 * rank:
        return ()
    return [[s.plus(Size(Fraction(pads[a] + pads[a + rank]))) for a, s in enumerate(shapes[0])]]


def _recurrent(node: onnx.NodeProto, shapes: Sequence[NamedShape], values: Sequence[Sizes | None]) -> Sequence[Guess]:
    steps, batch = shapes[0][:2]
    if any(attribute.i for attribute in node.attribute if attribute.name == "layout"):
        return ()
    return [[steps, None, batch, None], [None, batch, None]]


Rule = Callable[[onnx.NodeProto, Sequence[NamedShape], Sequence["Sizes | None"]], Sequence[Guess]]
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            "Abs", "BatchNormalization", "Cast", "Celu", "Ceil", "Clip", "CumSum", "Dropout", "Elu", "Erf", "Exp",
            "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity",
            "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization",
            "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu", "QuantizeLinear", "DequantizeLinear",
            "RMSNormalization", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softmax", "Softplus",
            "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu", "Trilu",
        ),
        _same,
    ),
    **dict.fromkeys(
        (
            "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min",
            "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
        ),
        _broadcast,
    ),
    **dict.fromkeys(
        ("AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool"), _window
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
        _reduce,
    ),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip
