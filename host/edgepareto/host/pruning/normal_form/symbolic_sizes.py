"""Sizes that a graph computes from shapes, followed as numbers, symbols and products of both.

A size is positive, so products divide where they divide exactly; whatever is not such a product is unknown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import onnx
from edgepareto.host.pruning.normal_form.model_outline import LARGEST_SIZES
from onnx import TensorProto, numpy_helper

__all__ = ["Size", "Sizes", "constant_sizes", "product_of", "sizes_after"]

INTEGERS = (TensorProto.INT64, TensorProto.INT32)
FOLLOWED_CONSTANTS = (*INTEGERS, TensorProto.FLOAT, TensorProto.BOOL)


@dataclass(frozen=True, slots=True)
class Size:
    """factor x the product of the symbols, sorted, each as often as its power."""

    factor: Fraction
    symbols: tuple[str, ...] = ()

    def __str__(self) -> str:
        factor = [str(self.factor)] if self.factor != 1 or not self.symbols else []
        return "*".join([*factor, *self.symbols])

    @property
    def number(self) -> int | None:
        return int(self.factor) if not self.symbols and self.factor.denominator == 1 else None

    def times(self, other: Size) -> Size:
        if self.factor * other.factor == 0:
            return Size(Fraction(0))
        return Size(self.factor * other.factor, tuple(sorted(self.symbols + other.symbols)))

    def over(self, other: Size) -> Size | None:
        """None where a symbol would remain below the line."""
        if other.factor == 0 or Counter(other.symbols) - Counter(self.symbols):
            return None
        rest = Counter(self.symbols) - Counter(other.symbols)
        return Size(self.factor / other.factor, tuple(sorted(rest.elements())))

    def plus(self, other: Size) -> Size | None:
        if other.factor == 0 or self.factor == 0:
            return self if other.factor == 0 else other
        same = self.symbols == other.symbols and self.factor + other.factor != 0
        if not same and (self.symbols or other.symbols):
            return None
        return Size(self.factor + other.factor, self.symbols)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The entries of a vector, or the one of a scalar; None: unknown."""

    entries: tuple[Size | None, ...]
    scalar: bool = False

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """All entries, where each is a whole number."""
        found = [entry.number if entry is not None else None for entry in self.entries]
        known = tuple(number for number in found if number is not None)
        return known if len(known) == len(found) else None


def constant_sizes(graph: onnx.GraphProto) -> dict[str, Sizes]:
    """The initializers that may hold sizes: short, of rank 0 or 1."""
    values: dict[str, Sizes] = {}
    for tensor in graph.initializer:
        if tensor.data_type in FOLLOWED_CONSTANTS and len(tensor.dims) <= 1 and math.prod(tensor.dims) <= LARGEST_SIZES:
            numbers = numpy_helper.to_array(tensor).reshape(-1).tolist()
            finite = [Size(Fraction(number)) if math.isfinite(number) else None for number in numbers]
            values[tensor.name] = Sizes(tuple(finite), scalar=not tensor.dims)
    return values


def sizes_after(
    node: onnx.NodeProto,
    shapes: Mapping[str, Sequence[Size]],
    values: Mapping[str, Sizes],
    types: Mapping[str, int],
) -> Sizes | None:
    """What the node puts out, where that is sizes."""
    if node.op_type in ("Shape", "Size"):
        return _of_shape(node, shapes[node.input[0]]) if node.input[0] in shapes else None
    rule = RULES.get(node.op_type)
    known = [value for name in node.input if (value := values.get(name)) is not None]
    if rule is None or not known or len(known) < len(node.input):
        return None
    found = rule(node, known)
    if found is None or len(found.entries) > LARGEST_SIZES:
        return None
    is_integer = types.get(node.output[0]) in INTEGERS
    return Sizes(tuple(map(_whole, found.entries)), found.scalar) if is_integer else found


def product_of(sizes: Sequence[Size | None]) -> Size | None:
    product = Size(Fraction(1))
    for size in sizes:
        if size is None:
            return None
        product = product.times(size)
    return product


def _whole(entry: Size | None) -> Size | None:
    """Integer division that leaves a rest: only plain numbers are rounded, and sizes are positive, so down."""
    if entry is None or entry.factor.denominator == 1:
        return entry
    return Size(Fraction(math.floor(entry.factor))) if not entry.symbols and entry.factor > 0 else None


def _of_shape(node: onnx.NodeProto, shape: Sequence[Size]) -> Sizes:
    if node.op_type == "Size":
        return Sizes((product_of(shape),), scalar=True)
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return Sizes(tuple(shape[bounds.get("start", 0) : bounds.get("end", len(shape))]))


def _unchanged(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes | None:
    return None if any(attribute.i == TensorProto.BOOL for attribute in node.attribute) else known[0]


def _vector(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes | None:
    """Unsqueeze of a scalar; a Reshape to one axis."""
    if node.op_type == "Reshape":
        return Sizes(known[0].entries) if len(known[1].entries) == 1 else None
    return Sizes(known[0].entries) if known[0].scalar else None


def _scalar(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes | None:
    return Sizes(known[0].entries, scalar=True) if len(known[0].entries) == 1 else None


def _concat(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes:
    return Sizes(tuple(entry for part in known for entry in part.entries))


def _gather(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes | None:
    entries, chosen = known[0].entries, known[1].numbers
    if known[0].scalar or chosen is None or any(not -len(entries) <= index < len(entries) for index in chosen):
        return None
    return Sizes(tuple(entries[index] for index in chosen), scalar=known[1].scalar)


def _slice(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes | None:
    bounds = {attribute.name: attribute.ints for attribute in node.attribute}
    if bounds:  # opset 9 and older
        return Sizes(known[0].entries[bounds["starts"][0] : bounds["ends"][0]])
    numbers = [part.numbers for part in known[1:]]
    if any(part is None or len(part) != 1 for part in numbers):
        return None
    start, end, *axis_and_step = [part[0] for part in numbers if part is not None]
    return Sizes(known[0].entries[start : end : axis_and_step[1] if len(axis_and_step) > 1 else 1])


def _pairwise(combine: Callable[[Size, Size], Size | None]) -> Rule:
    def rule(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes | None:
        length = max(len(part.entries) for part in known)
        if len(known) != 2 or any(len(part.entries) not in (1, length) for part in known):
            return None
        left, right = (part.entries * (length // len(part.entries)) for part in known)
        return Sizes(
            tuple(None if a is None or b is None else combine(a, b) for a, b in zip(left, right, strict=True)),
            scalar=all(part.scalar for part in known),
        )

    return rule


def _difference(left: Size, right: Size) -> Size | None:
    return left.plus(Size(-right.factor, right.symbols)) if left != right else Size(Fraction(0))


def _equal(left: Size, right: Size) -> Size | None:
    """Sizes are not negative, so a symbol differs from -1, and from itself times anything but 1."""
    if not left.symbols and not right.symbols:
        return Size(Fraction(left.factor == right.factor))
    if left == right:
        return Size(Fraction(1))
    negative = (not left.symbols and left.factor < 0) or (not right.symbols and right.factor < 0)
    return Size(Fraction(0)) if negative else None


def _chosen(better: Callable[[Fraction, Fraction], Fraction]) -> Callable[[Size, Size], Size | None]:
    def combine(left: Size, right: Size) -> Size | None:
        same = left.symbols == right.symbols
        return Size(better(left.factor, right.factor), left.symbols) if same else None

    return combine


def _where(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes | None:
    length = max(len(part.entries) for part in known)
    if any(len(part.entries) not in (1, length) for part in known):
        return None
    condition, yes, no = (part.entries * (length // len(part.entries)) for part in known)
    chosen = (None if c is None else (a if c.factor else b) for c, a, b in zip(condition, yes, no, strict=True))
    return Sizes(tuple(chosen), scalar=all(part.scalar for part in known))


def _rounded(round_: Callable[[Fraction], int]) -> Rule:
    def rule(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes:
        entries = (
            entry
            if entry is None or entry.factor.denominator == 1
            else (None if entry.symbols else Size(Fraction(round_(entry.factor))))
            for entry in known[0].entries
        )
        return Sizes(tuple(entries), known[0].scalar)

    return rule


def _reduce_prod(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes:
    keeps_axis = all(attribute.i for attribute in node.attribute if attribute.name == "keepdims")
    return Sizes((product_of(known[0].entries),), scalar=not keeps_axis)


def _constant_of_shape(node: onnx.NodeProto, known: Sequence[Sizes]) -> Sizes | None:
    length = known[0].numbers
    value = next((numpy_helper.to_array(attribute.t).reshape(-1)[0] for attribute in node.attribute), 0)
    if length is None or len(length) > 1 or (length and not 0 <= length[0] <= LARGEST_SIZES):
        return None
    return Sizes((Size(Fraction(float(value))),) * math.prod(length), scalar=not length)


Rule = Callable[[onnx.NodeProto, Sequence[Sizes]], "Sizes | None"]
RULES: Mapping[str, Rule] = {
    "Add": _pairwise(Size.plus),
    "Cast": _unchanged,
    "Ceil": _rounded(math.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _pairwise(Size.over),
    "Equal": _pairwise(_equal),
    "Floor": _rounded(math.floor),
    "Gather": _gather,
    "Identity": _unchanged,
    "Max": _pairwise(_chosen(max)),
    "Min": _pairwise(_chosen(min)),
    "Mul": _pairwise(Size.times),
    "ReduceProd": _reduce_prod,
    "Reshape": _vector,
    "Slice": _slice,
    "Squeeze": _scalar,
    "Sub": _pairwise(_difference),
    "Unsqueeze": _vector,
    "Where": _where,
}
