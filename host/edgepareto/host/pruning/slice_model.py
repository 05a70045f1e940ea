"""Cut a model to the kept channels. The base is never touched: a draft holds its own nodes and arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from edgepareto.host.domain import Genome
from edgepareto.host.pruning.analysis import Analysis, count_parameters, layer_macs
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.graph_walk import Count
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["Draft", "Kept", "kept_classes", "slice_model"]

Kept = NDArray[np.bool_]  # per class of the dependency graph


@dataclass(slots=True, kw_only=True)
class Draft:
    """A pruned model in the making: recovery replaces arrays and adds biases, then `to_model` closes it.

    changed: initializers whose shape or values differ from the base model's.
    """

    analysis: Analysis
    kept: Kept
    nodes: list[onnx.NodeProto]
    arrays: dict[str, NDArray[np.generic]]
    changed: set[str]

    @property
    def macs(self) -> int:
        return sum(layer_macs(self.analysis.graph, self.arrays)) + self.analysis.graph.fixed_macs

    @property
    def parameters(self) -> int:
        return count_parameters(self.arrays)

    def to_model(self) -> onnx.ModelProto:
        """The base's header, inputs, outputs and metadata around the draft's nodes and arrays."""
        base = self.analysis.model
        model = onnx.ModelProto()
        for name in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
            if base.HasField(name):
                setattr(model, name, getattr(base, name))
        model.opset_import.extend(base.opset_import)
        model.metadata_props.extend(base.metadata_props)
        model.functions.extend(base.functions)
        graph = model.graph
        graph.name = base.graph.name
        if base.graph.HasField("doc_string"):
            graph.doc_string = base.graph.doc_string
        graph.input.extend(base.graph.input)
        graph.output.extend(base.graph.output)
        graph.metadata_props.extend(base.graph.metadata_props)
        graph.sparse_initializer.extend(base.graph.sparse_initializer)
        graph.node.extend(self.nodes)
        for name, value in self.arrays.items():
            graph.initializer.append(numpy_helper.from_array(value, name))
        return model


def kept_classes(analysis: Analysis, importance: tuple[Labels, ...], genome: Genome) -> Kept:
    """importance: per group, positions of its channels, most important first; the genome takes a prefix of each."""
    assert len(genome.widths) == len(analysis.groups), (len(genome.widths), len(analysis.groups))
    kept = np.ones(len(analysis.graph.classes), dtype=bool)
    for width, order, classes in zip(genome.widths, importance, analysis.group_classes, strict=True):
        assert 1 <= width <= len(classes), f"a group of {len(classes)} channels cannot keep {width}"
        kept[classes[order[width:]]] = False
    return kept


def slice_model(analysis: Analysis, kept: Kept) -> Draft:
    """Cut every initializer, and rewrite every size that a node holds, to the kept classes."""
    graph = analysis.graph
    arrays = dict(analysis.constants)
    changed: set[str] = set()
    for cut in graph.cuts:
        keep = kept[cut.labels]
        if not keep.all():
            arrays[cut.tensor] = np.compress(keep, arrays[cut.tensor], axis=cut.axis)
            changed.add(cut.tensor)
    nodes = list(analysis.model.graph.node)
    for count in graph.counts:
        remaining = int(kept[count.labels].sum())
        if remaining == len(count.labels):
            continue
        if isinstance(count, Count):
            sizes = arrays[count.tensor].copy()
            sizes[count.position] = remaining
            arrays[count.tensor] = sizes
            changed.add(count.tensor)
        else:
            nodes[count.node] = _with_attribute(nodes[count.node], count.attribute, count.position, remaining)
    return Draft(analysis=analysis, kept=kept, nodes=nodes, arrays=arrays, changed=changed)


def _with_attribute(node: onnx.NodeProto, name: str, position: int | None, value: int) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    attribute = next(attribute for attribute in copy.attribute if attribute.name == name)
    if position is None:
        attribute.i = value
    else:
        attribute.ints[position] = value
    return copy
