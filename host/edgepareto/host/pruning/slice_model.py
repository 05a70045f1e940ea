"""Cut a model to the kept channels. The base is never touched: a draft holds its own nodes and arrays."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from edgepareto.host.domain import Genome
from edgepareto.host.pruning.analysis import Analysis
from edgepareto.host.pruning.branches import Branch
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.cuts import AttributeCount, BlockCut, Count, Cut, IndexCut
from edgepareto.host.pruning.model_bytes import model_bytes
from edgepareto.host.pruning.model_size import count_macs, count_parameters
from edgepareto.host.pruning.normal_form.normalise import remove_identities
from numpy.typing import NDArray

__all__ = ["Draft", "Kept", "kept_classes", "slice_model"]

Kept = NDArray[np.bool_]  # per class of the dependency graph


@dataclass(slots=True, kw_only=True)
class Draft:
    """A pruned model in the making: recovery replaces arrays and adds biases, then `to_bytes` closes it.

    changed: initializers whose shape or values differ from the base model's. gone: nodes that are left out, which
    `nodes` holds all the same, in their places; bypassed: the Adds that lost one side, each an Identity there.
    """

    analysis: Analysis
    kept: Kept
    nodes: list[onnx.NodeProto]
    arrays: dict[str, NDArray[np.generic]]
    changed: set[str]
    gone: frozenset[int] = frozenset()
    bypassed: frozenset[int] = frozenset()

    @property
    def macs(self) -> int:
        return count_macs(self.analysis.graph, self.arrays, self.kept, self.gone)

    @property
    def parameters(self) -> int:
        return count_parameters(self.arrays)

    def to_bytes(self) -> bytes:
        """The base's header, inputs, outputs and metadata around the draft's nodes and arrays, as an .onnx file."""
        base = self.analysis.model
        outline = onnx.ModelProto()
        for name in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
            if base.HasField(name):
                setattr(outline, name, getattr(base, name))
        outline.opset_import.extend(base.opset_import)
        outline.metadata_props.extend(base.metadata_props)
        outline.functions.extend(base.functions)
        graph = outline.graph
        graph.name = base.graph.name
        if base.graph.HasField("doc_string"):
            graph.doc_string = base.graph.doc_string
        graph.input.extend(base.graph.input)
        graph.output.extend(base.graph.output)
        graph.metadata_props.extend(base.graph.metadata_props)
        graph.sparse_initializer.extend(t for t in base.graph.sparse_initializer if self._is_read(t.values.name))
        graph.node.extend(node for number, node in enumerate(self.nodes) if number not in self.gone)
        if self.bypassed:
            remove_identities(graph, self.arrays)
        return model_bytes(outline, self.arrays)

    def _is_read(self, name: str) -> bool:
        return self.analysis.wiring.is_read(name, self.gone, {})


def kept_classes(analysis: Analysis, importance: tuple[tuple[Labels, ...], ...], genome: Genome) -> Kept:
    """importance: per group and cell, positions, most important first; a genome takes prefixes."""
    assert len(genome.widths) == len(analysis.groups), (len(genome.widths), len(analysis.groups))
    kept = np.ones(len(analysis.graph.classes), dtype=bool)
    for width, orders, cells in zip(genome.widths, importance, analysis.group_cells, strict=True):
        for order, classes, count in zip(orders, cells.classes, cells.of_width(width), strict=True):
            kept[classes[order[count:]]] = False
    return kept


def slice_model(analysis: Analysis, kept: Kept, dropped: Collection[str] = ()) -> Draft:
    """Cut every initializer, and rewrite every size that a node holds, to the kept classes.

    dropped: names of branches to leave out, with all that is then needed by nothing.
    """
    graph = analysis.graph
    arrays = dict(analysis.constants)
    changed: set[str] = set()
    for cut in graph.cuts:
        if not kept[cut.labels].all() or (isinstance(cut, IndexCut) and not kept[cut.source].all()):
            arrays[cut.tensor] = _cut(arrays[cut.tensor], cut, kept)
            changed.add(cut.tensor)
    nodes = list(analysis.model.graph.node)
    for count in graph.counts:
        if _stays(count, kept):
            continue
        remaining = int(kept[count.labels].sum())
        if isinstance(count, Count):
            sizes = arrays[count.tensor].copy()
            sizes[count.position] = remaining
            arrays[count.tensor] = sizes
            changed.add(count.tensor)
        else:
            nodes[count.node] = _with_attribute(nodes[count.node], count.attribute, count.position, remaining)
    draft = Draft(analysis=analysis, kept=kept, nodes=nodes, arrays=arrays, changed=changed)
    return _without(draft, [branch for branch in analysis.branches if branch.name in dropped]) if dropped else draft


def _without(draft: Draft, branches: Sequence[Branch]) -> Draft:
    wiring = draft.analysis.wiring
    gone = wiring.unneeded({branch.node: branch.kept for branch in branches})
    left = [branch for branch in branches if branch.node not in gone]
    nodes = list(draft.nodes)
    for branch in left:
        add = nodes[branch.node]
        nodes[branch.node] = onnx.helper.make_node("Identity", [branch.kept], list(add.output), name=add.name)
    arrays = {name: value for name, value in draft.arrays.items() if wiring.is_read(name, gone, {})}
    return replace(
        draft,
        nodes=nodes,
        arrays=arrays,
        changed=draft.changed & arrays.keys(),
        gone=gone,
        bypassed=frozenset(branch.node for branch in left),
    )


def _stays(count: Count | AttributeCount, kept: Kept) -> bool:
    return bool(kept[count.labels].all()) and (count.behind is None or bool(kept[count.behind].all()))


def _cut(array: NDArray[np.generic], cut: Cut | BlockCut | IndexCut, kept: Kept) -> NDArray[np.generic]:
    keep = kept[cut.labels]
    if isinstance(cut, Cut):
        return np.compress(keep, array, axis=cut.axis)
    if isinstance(cut, IndexCut):
        place = np.cumsum(kept[cut.source]) - 1
        return np.asarray(place[array.reshape(-1)[keep]], dtype=array.dtype)
    parts = np.split(array, len(keep), axis=0)
    return np.concatenate([np.compress(of, part, axis=cut.axis) for of, part in zip(keep, parts, strict=True)], axis=0)


def _with_attribute(node: onnx.NodeProto, name: str, position: int | None, value: int) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    attribute = next(attribute for attribute in copy.attribute if attribute.name == name)
    if position is None:
        attribute.i = value
    else:
        attribute.ints[position] = value
    return copy
