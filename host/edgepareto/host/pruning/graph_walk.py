"""What an operator's rule may ask and say while the graph is walked: labels, cuts, counts, layers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from edgepareto.host.pruning.channel_labels import AxisLabels, Labels, LabelTable
from edgepareto.host.pruning.cuts import AttributeCount, BlockCut, Count, Cut, IndexCut
from edgepareto.host.pruning.layer import Layer, Product
from edgepareto.host.pruning.normal_form.graph_names import captured_names
from edgepareto.host.pruning.normal_form.shape_inference import Shape, elements_per_sample
from numpy.typing import NDArray

__all__ = ["Directions", "GraphWalk", "Untracked", "WeightsMissing"]


class Untracked(Exception):
    """A rule cannot follow channels through this node; the text says why, after "which"."""


class WeightsMissing(Untracked):
    """The node is a layer, and makes channels, but its weights are no plain initializer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """A tensor of two directions (an axis of size 2) with units of their own. labels: (2, units) of the unit axis."""

    rank: int
    direction_axis: int
    unit_axis: int
    labels: Labels


class GraphWalk:
    """The state of one walk over a normalised graph, nodes in order."""

    def __init__(
        self,
        graph: onnx.GraphProto,
        shapes: Mapping[str, Shape],
        constants: Mapping[str, NDArray[np.generic]],
        opset: int,
    ) -> None:
        self.table = LabelTable()
        self.opset = opset
        self.cuts: list[Cut | BlockCut | IndexCut] = []
        self.counts: list[Count | AttributeCount] = []
        self.layers: list[Layer] = []
        self.owners: list[tuple[Labels, str]] = []  # which layer makes, or reads, these labels
        self.products: list[Product] = []
        self.node = -1  # index of the current node
        self._asked: set[str] = set()  # what the current rule has read the labels of, or labelled
        self._constants = constants
        self._shapes = shapes
        self._labels: dict[str, AxisLabels] = {}
        self._directions: dict[str, Directions] = {}
        self._inputs = {value.name for value in graph.input}
        first = next((size for value in graph.input for size in shapes.get(value.name, ())[:1]), None)
        self._batch = first if isinstance(first, int) else 0  # 0: it is free
        self._outputs = {value.name for value in graph.output}
        self._sparse = {tensor.values.name for tensor in graph.sparse_initializer}
        self._cut_for: dict[tuple[str, int], tuple[Labels, list[int]]] = {}  # (initializer, axis): labels, nodes
        self._nodes = graph.node
        self._makers = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[int]] = {}
        for number, node in enumerate(graph.node):
            for name in (*node.input, *captured_names(node)):
                self._readers.setdefault(name, []).append(number)

    def start(self, index: int) -> None:
        """The next node's turn."""
        self.node = index
        self._asked = set()

    def freeze_what_was_ignored(self, node: onnx.NodeProto) -> None:
        """At the end of a node's turn: a rule speaks for the tensors it asked for. What it forgot must not be cut.

        An input that the rule never looked at keeps its channels; and where it said nothing about an output that
        someone reads, all inputs do.
        """
        reason = f"is read by '{node.name}' ({node.op_type}) where channels are not followed"
        wanted = [name for name in node.output if name and (self.is_output(name) or self._readers.get(name))]
        silent = any(name not in self._asked for name in wanted)
        for name in node.input:
            if name and (silent or name not in self._asked):
                self.table.freeze_all(self.all_labels(name), reason)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        return self._constants.get(name)

    def is_input(self, name: str) -> bool:
        return name in self._inputs

    def is_output(self, name: str) -> bool:
        return name in self._outputs

    def is_sparse(self, name: str) -> bool:
        """An initializer that holds places and values."""
        return name in self._sparse

    def maker(self, name: str) -> onnx.NodeProto | None:
        return self._makers.get(name)

    def numbers(self, node: onnx.NodeProto, position: int) -> list[int] | None:
        """A constant integer input; None where the input is absent. Raises Untracked where it is computed."""
        if position >= len(node.input) or node.input[position] == "":
            return None
        value = self._constants.get(node.input[position])
        if value is None:
            raise Untracked("takes sizes that are computed at run time")
        return [int(number) for number in value.reshape(-1)]

    def readers(self, name: str) -> Sequence[onnx.NodeProto]:
        return [self._nodes[number] for number in self._readers.get(name, ())]

    def shape(self, name: str) -> Shape:
        """Raises Untracked where the rank is unknown."""
        shape = self._shapes.get(name)
        if shape is None:
            raise Untracked("has a tensor whose shape cannot be inferred")
        return shape

    def all_shape(self, name: str) -> Shape:
        """As `shape`, but () where the rank is unknown."""
        return self._shapes.get(name, ())

    def size(self, name: str, axis: int) -> int:
        size = self.shape(name)[axis]
        if not isinstance(size, int):
            raise Untracked("has a channel axis of unknown size")
        return size

    def labels(self, name: str) -> AxisLabels:
        """Per axis; a tensor that no rule has labelled has no labels."""
        self._asked.add(name)
        self._tie_directions(name)
        known = self._labels.get(name)
        return known if known is not None else (None,) * len(self.shape(name))

    def all_labels(self, name: str) -> AxisLabels:
        """As `labels`, but () where the rank is unknown."""
        self._tie_directions(name)
        return self._labels.get(name, ())

    def directions(self, name: str) -> Directions | None:
        """For rules that keep directions apart; for all others, `labels` makes unit i of both one channel."""
        self._asked.add(name)
        return self._directions.get(name)

    def set_directions(self, name: str, both: Directions) -> None:
        self._asked.add(name)
        self._directions[name] = both

    def _tie_directions(self, name: str) -> None:
        both = self._directions.get(name)
        if both is None or name in self._labels:
            return
        first, *others = both.labels
        for labels in others:
            self.table.join(first, labels)
        self._labels[name] = tuple(first if axis == both.unit_axis else None for axis in range(both.rank))

    def channels(self, node: onnx.NodeProto) -> Labels | None:
        """Of axis 1 of the node's data. Labels of its other axes, which it takes for positions, are frozen."""
        axes = self.labels(node.input[0])
        reason = f"lies along positions that '{node.name}' ({node.op_type}) reads together"
        self.table.freeze_all([*axes[:1], *axes[2:]], reason)
        return axes[1]

    def set_labels(self, name: str, axes: Sequence[Labels | None]) -> None:
        self._asked.add(name)
        self._labels[name] = tuple(axes)

    def set_axis(self, name: str, axis: int, labels: Labels | None) -> None:
        """Label one axis of a tensor and no other."""
        axes: list[Labels | None] = [None] * len(self.shape(name))
        axes[axis] = labels
        self.set_labels(name, axes)

    def met(self, node: onnx.NodeProto, places: Sequence[tuple[str, int]]) -> Labels | None:
        """Joins the labels of these (tensor, axis), position by position; frozen where one of them cannot be cut."""
        found = [self.labels(name)[axis] for name, axis in places]
        labelled = [labels for labels in found if labels is not None]
        if not labelled:
            return None
        for other in labelled[1:]:
            self.table.join(labelled[0], other)
        if len(labelled) < len(found):
            reason = f"is combined by '{node.name}' ({node.op_type}) with a tensor that cannot be cut"
            self.table.freeze(labelled[0], reason)
        return labelled[0]

    def _check_size(self, tensor: str, axis: int, labels: Labels) -> None:
        """A model that contradicts itself is not made to agree by a cut."""
        value = self._constants.get(tensor)
        if value is not None and value.shape[axis] != labels.shape[-1]:
            raise Untracked(f"has {labels.shape[-1]} channels where its weight '{tensor}' has {value.shape[axis]}")

    def cut(self, tensor: str, axis: int, labels: Labels) -> None:
        self._check_size(tensor, axis, labels)
        if self._is_first_cut(tensor, axis, labels):
            self.cuts.append(Cut(tensor=tensor, axis=axis, labels=labels))

    def cut_blocks(self, tensor: str, axis: int, labels: Labels) -> None:
        self._check_size(tensor, axis, labels)
        if self._is_first_cut(tensor, axis, labels):
            self.cuts.append(BlockCut(tensor=tensor, axis=axis, labels=labels))

    def _is_first_cut(self, tensor: str, axis: int, labels: Labels) -> bool:
        """A tied weight is cut once: what one of its readers loses there, the others lose too."""
        if (tensor, axis) not in self._cut_for:
            self._cut_for[tensor, axis] = (labels, [self.node])
            return True
        first, nodes = self._cut_for[tensor, axis]
        nodes.append(self.node)
        if first.shape == labels.shape:
            self.table.join(first.reshape(-1), labels.reshape(-1))
        else:
            for of_reader in (first, labels):
                self.table.freeze(
                    of_reader.reshape(-1), "is tied to a layer that reads the same weight in another form"
                )
        return False

    def freeze_loose_ties(self) -> None:
        """For after the last node: an axis of a tied weight that not all of its readers cut stays as it is."""
        for (tensor, _), (labels, nodes) in self._cut_for.items():
            loose = list((Counter(self._readers.get(tensor, ())) - Counter(nodes)).elements())
            if loose:
                name = self._nodes[loose[0]].name
                self.table.freeze(labels.reshape(-1), f"shares its weights with '{name}', of which these cannot be cut")

    def positions(self, name: str, channel_axis: int | None) -> int:
        """Per sample: the product of all sizes but the channels' and the batch's."""
        shape = self._shapes.get(name, ())
        if channel_axis is not None:
            shape = (*shape[:channel_axis], *shape[channel_axis:][1:])
        return self.elements_per_sample(shape)

    def elements_per_sample(self, shape: Shape) -> int:
        """The product of all sizes but the batch's, which may have merged with heads; a symbol counts as 1."""
        numbers = [size for size in shape if isinstance(size, int)]
        if self._batch and len(numbers) == len(shape) and any(size % self._batch == 0 for size in numbers):
            return math.prod(numbers) // self._batch
        return elements_per_sample(shape)
