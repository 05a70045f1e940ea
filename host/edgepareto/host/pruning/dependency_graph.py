"""The walk over a normalised graph: which channels live and die together, and what must change when they do.

Whatever is not understood freezes: an unknown operator, a graph input, a graph output. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from edgepareto.host.pruning.channel_labels import Classes, Labels
from edgepareto.host.pruning.cuts import AttributeCount, BlockCut, Count, Cut, IndexCut
from edgepareto.host.pruning.graph_walk import GraphWalk, Untracked, WeightsMissing
from edgepareto.host.pruning.layer import Layer, LayerKind, Product
from edgepareto.host.pruning.normal_form.graph_names import captured_names
from edgepareto.host.pruning.normal_form.normalise import default_opset
from edgepareto.host.pruning.normal_form.shape_inference import Shape
from edgepareto.host.pruning.operators import RULES
from edgepareto.host.pruning.operators.refused import made_axis, refusal
from numpy.typing import NDArray

__all__ = ["DependencyGraph", "trace_dependencies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyGraph:
    """Cuts, counts and layers speak in classes here: an index into `classes` per channel position.

    owners: the classes that a layer makes, with its name, in graph order.
    """

    classes: Classes
    cuts: tuple[Cut | BlockCut | IndexCut, ...]
    counts: tuple[Count | AttributeCount, ...]
    layers: tuple[Layer, ...]
    products: tuple[Product, ...]
    owners: tuple[tuple[Labels, str], ...]


def trace_dependencies(
    model: onnx.ModelProto, shapes: Mapping[str, Shape], constants: Mapping[str, NDArray[np.generic]]
) -> DependencyGraph:
    """model: normalised. Never raises for an operator it does not know; its channels are frozen with the reason."""
    walk = GraphWalk(model.graph, shapes, constants, default_opset(model))
    for value in model.graph.input:
        _label_input(value.name, walk, shapes)
    for index, node in enumerate(model.graph.node):
        walk.start(index)
        _follow(node, walk)
    for value in model.graph.output:
        walk.table.freeze_output(walk.all_labels(value.name), f"reaches the model's output '{value.name}'")
    walk.freeze_loose_ties()
    return _closed(walk)


def _label_input(name: str, walk: GraphWalk, shapes: Mapping[str, Shape]) -> None:
    """Its channels never go. Of three axes, either of the last two may be the channels: no label, none to be cut."""
    shape = shapes.get(name, ())
    if len(shape) < 2 or len(shape) == 3:
        return
    axes: list[Labels | None] = []
    for size in shape[1:]:
        labels = walk.table.fresh(size) if isinstance(size, int) and len(axes) == 0 else None
        if labels is not None:
            walk.table.freeze(labels, f"comes from the model's input '{name}'")
        axes.append(labels)
    walk.set_labels(name, (None, *axes))


def _follow(node: onnx.NodeProto, walk: GraphWalk) -> None:
    rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    try:
        if rule is None:
            raise Untracked(refusal(node))
        rule(node, walk)
        walk.freeze_what_was_ignored(node)
    except Untracked as why:
        domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
        reason = f"by '{node.name}' ({domain}{node.op_type}), which {why}"
        read: Iterable[str] = (*node.input, *sorted(captured_names(node)))
        for name in read:
            walk.table.freeze_all(walk.all_labels(name), f"is read {reason}")
        axis = -1 if isinstance(why, WeightsMissing) and node.op_type == "MatMul" else made_axis(node)
        if axis is not None:
            _freeze_made(node, axis, walk, f"is made {reason}")


def _freeze_made(node: onnx.NodeProto, axis: int, walk: GraphWalk, reason: str) -> None:
    """A layer that cannot be cut is listed with the channels it makes, where their number is known."""
    shape = walk.all_shape(node.output[0])
    size = shape[axis] if -len(shape) <= axis < len(shape) else None
    if not isinstance(size, int) or walk.all_labels(node.output[0]):
        return
    made = walk.table.fresh(size)
    walk.table.freeze(made, reason)
    walk.owners.append((made, node.name))
    walk.set_axis(node.output[0], axis, made)


def _closed(walk: GraphWalk) -> DependencyGraph:
    classes = walk.table.close()
    number = classes.of_label
    return DependencyGraph(
        classes=classes,
        cuts=tuple(_numbered_cut(cut, number) for cut in walk.cuts),
        counts=tuple(_numbered_count(count, number) for count in walk.counts),
        layers=tuple(_numbered_layer(layer, classes) for layer in walk.layers),
        products=tuple(
            replace(product, axes=tuple(number[labels] for labels in product.axes)) for product in walk.products
        ),
        owners=tuple((number[labels], name) for labels, name in walk.owners),
    )


def _numbered_count(count: Count | AttributeCount, number: Labels) -> Count | AttributeCount:
    return replace(count, labels=number[count.labels], behind=None if count.behind is None else number[count.behind])


def _numbered_layer(layer: Layer, classes: Classes) -> Layer:
    """A layer that may lose positions is not repaired: its rows would not be those of the dense layer."""
    number = classes.of_label
    across = tuple(number[labels] for labels in layer.across)
    loses = any(index not in classes.frozen for labels in across for index in labels.tolist())
    return replace(
        layer,
        kind=LayerKind.OTHER if loses else layer.kind,
        inputs=None if layer.inputs is None else number[layer.inputs],
        outputs=number[layer.outputs],
        across=across if loses else (),
    )


def _numbered_cut(cut: Cut | BlockCut | IndexCut, number: Labels) -> Cut | BlockCut | IndexCut:
    if isinstance(cut, IndexCut):
        return replace(cut, source=number[cut.source], labels=number[cut.labels])
    return replace(cut, labels=number[cut.labels])
