"""Einsum: axes with the same letter are one axis, in every input and in the output."""

from __future__ import annotations

from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.graph_walk import GraphWalk, Untracked
from edgepareto.host.pruning.layer import Product
from edgepareto.host.pruning.normal_form.attributes import text_attribute
from onnx import NodeProto

__all__ = ["RULES"]


def einsum(node: NodeProto, walk: GraphWalk) -> None:
    inputs, output = _letters(node, walk)
    made: dict[str, Labels | None] = {}
    for letter in dict.fromkeys("".join(inputs)):
        places = [(n, axes.index(letter)) for n, axes in zip(node.input, inputs, strict=True) if letter in axes]
        made[letter] = _joined(node, letter, places, output, walk)
    walk.set_labels(node.output[0], [made[letter] for letter in output])
    sizes = {
        letter: size
        for name, axes in zip(node.input, inputs, strict=True)
        for letter, size in zip(axes, walk.shape(name), strict=True)
    }
    macs = walk.elements_per_sample(tuple(sizes[letter] for letter in dict.fromkeys(output + "".join(inputs))))
    axes = tuple(labels for labels in made.values() if labels is not None)
    walk.products.append(Product(node=walk.node, macs=macs, axes=axes))


def _letters(node: NodeProto, walk: GraphWalk) -> tuple[list[str], str]:
    """The axes of each input and of the output."""
    left, arrow, output = text_attribute(node, "equation", "").replace(" ", "").partition("->")
    inputs = left.split(",")
    if not arrow or "." in left or any(len(set(axes)) < len(axes) for axes in inputs):
        raise Untracked("has an equation with an ellipsis, a diagonal or without an arrow")
    sizes: dict[str, set[int | str | None]] = {}
    for name, axes in zip(node.input, inputs, strict=True):
        for letter, size in zip(axes, walk.shape(name), strict=True):
            sizes.setdefault(letter, set()).add(size)
    if any(1 in of_letter and len(of_letter) > 1 for of_letter in sizes.values()):
        raise Untracked("may repeat an axis with a single index")
    return inputs, output


def _joined(node: NodeProto, letter: str, places: list[tuple[str, int]], output: str, walk: GraphWalk) -> Labels | None:
    signals = [(name, axis) for name, axis in places if walk.constant(name) is None]
    constants = [(name, axis) for name, axis in places if walk.constant(name) is not None]
    if not signals:
        return None  # what a constant adds to the output stays whole
    labels = walk.met(node, signals)
    if labels is None:
        return None
    if letter not in output and len(places) == 1:
        walk.table.freeze(labels, f"is summed over its channels by '{node.name}' ({node.op_type})")
    for name, axis in constants:
        walk.cut(name, axis, labels)
    return labels


RULES = {"Einsum": einsum}
