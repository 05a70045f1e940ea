"""Einsum: term by term one product of matrices, between axes that stay, axes that are summed, and batches of both."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion
from edgepareto.host.export.tflite.operators.builtin import reduced
from edgepareto.host.export.tflite.placement import Placed, plain
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import text_attribute

__all__ = ["contract"]

REST = "..."
UNSEEN = (
    "\u03b1\u03b2\u03b3\u03b4\u03b5\u03b6\u03b7\u03b8"  # labels of the axes that "..." stands for; ONNX's are a to Z
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """An array of the file whose axes, in ONNX's order, have labels. value: of one that is constant."""

    labels: str
    placed: Placed
    value: Array | None = None

    def ordered(self, c: Conversion, labels: str, sizes: Mapping[str, int], *groups: str) -> int:
        """Its axes in that order, then those of each group as one."""
        order = tuple(self.labels.index(label) for label in labels)
        if self.value is not None:
            tensor = c.weights(self.value.transpose(order), f"term_{labels}")
        else:
            tensor = c.moved(self.placed, order).tensor
        return c.reshaped(tensor, [_count(group, sizes) for group in groups])

    def summed_to(self, c: Conversion, kept: Collection[str]) -> Term:
        """Without the axes of all other labels."""
        gone = [axis for axis, label in enumerate(self.labels) if label not in kept]
        if not gone:
            return self
        left = "".join(label for label in self.labels if label in kept)
        if self.value is not None:
            value = self.value.sum(axis=tuple(gone))
            return Term(labels=left, placed=self.placed, value=value)
        places = [self.placed.order.index(axis) for axis in gone]
        order = [self.labels[axis] for axis in self.placed.order if axis not in gone]
        shape = tuple(size for axis, size in enumerate(self.placed.shape) if axis not in gone)
        made = reduced(c, "SUM", self.placed.tensor, places, keep=False)
        return Term(
            labels=left, placed=Placed(tensor=made, shape=shape, order=tuple(left.index(label) for label in order))
        )


@converts("Einsum", floats=True)
def contract(c: Conversion, node: onnx.NodeProto) -> None:
    labels, result = _read(text_attribute(node, "equation", ""), [len(c.shape(name)) for name in node.input])
    sizes: dict[str, int] = {}
    for own, name in zip(labels, node.input, strict=True):
        if len(set(own)) < len(own):
            raise Unsupported("Einsum of a diagonal")
        for label, size in zip(own, c.shape(name), strict=True):
            if sizes.setdefault(label, size) != size:
                raise Unsupported("Einsum that broadcasts")
    terms = [
        Term(labels=own, placed=c.placed(name), value=c.constant(name))
        for own, name in zip(labels, node.input, strict=True)
    ]
    total = terms[0].summed_to(c, {*result}.union(*labels[1:]))
    for position, term in enumerate(terms[1:], start=2):
        needed = {*result}.union(*labels[position:])
        total = _product(
            c,
            total.summed_to(c, needed.union(term.labels)),
            term.summed_to(c, needed.union(total.labels)),
            needed,
            sizes,
        )
    c.give(node.output[0], total.placed.tensor, tuple(result.index(total.labels[axis]) for axis in total.placed.order))


def _product(c: Conversion, left: Term, right: Term, needed: Collection[str], sizes: Mapping[str, int]) -> Term:
    both = [label for label in left.labels if label in right.labels]
    batch, summed = (_text(label for label in both if (label in needed) == wanted) for wanted in (True, False))
    rows, columns = (_text(label for label in term.labels if label not in both) for term in (left, right))
    if right.value is not None and not batch:
        a = left.ordered(c, rows + summed, sizes, rows, summed)
        b = right.ordered(c, columns + summed, sizes, columns, summed)
        bias = c.weights(np.zeros(_count(columns, sizes), np.float32), "bias")
        options, code, inputs = schema.FullyConnectedOptionsT(), "FULLY_CONNECTED", [a, b, bias]
        stored = [_count(rows, sizes), _count(columns, sizes)]
    else:
        a = left.ordered(c, batch + rows + summed, sizes, batch, rows, summed)
        b = right.ordered(c, batch + columns + summed, sizes, batch, columns, summed)
        options, code, inputs = schema.BatchMatMulOptionsT(), "BATCH_MATMUL", [a, b]
        options.adjY = True
        stored = [_count(batch, sizes), _count(rows, sizes), _count(columns, sizes)]
    made = c.compute(code, inputs, stored, "float32", options)
    labels = batch + rows + columns
    shape = tuple(sizes[label] for label in labels)
    return Term(labels=labels, placed=Placed(tensor=c.reshaped(made, shape), shape=shape, order=plain(len(shape))))


def _read(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The labels of each term and of the result; without an arrow those that stand there once, by the alphabet."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    rests = [UNSEEN[len(UNSEEN) - (rank - len(term) + len(REST)) :] for term, rank in zip(terms, ranks, strict=True)]
    terms = [term.replace(REST, rest) for term, rest in zip(terms, rests, strict=True)]
    longest = max(
        (rest for rest, term in zip(rests, left.split(","), strict=True) if REST in term), key=len, default=""
    )
    if arrow:
        return terms, result.replace(REST, longest)
    every = "".join(terms)
    return terms, longest + _text(sorted(label for label in set(every) - set(longest) if every.count(label) == 1))


def _text(labels: Iterable[str]) -> str:
    return "".join(labels)


def _count(labels: str, sizes: Mapping[str, int]) -> int:
    return math.prod(sizes[label] for label in labels)
