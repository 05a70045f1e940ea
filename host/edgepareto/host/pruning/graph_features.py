"""How large a pruned network is, from its genome alone: for thousands of genomes at once, none of which is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.domain import PruningSpace
from edgepareto.host.pruning.analysis import Analysis
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.layer import LayerKind
from numpy.typing import NDArray

__all__ = ["GraphFeatures"]

Array = NDArray[np.float64]
LEAST = 1e-3  # of the unpruned network's: the logarithm of what vanished stays finite


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A layer or a product. shares: per axis of its work, (groups + 1,): what each group holds of it, the last one what
    never goes. branches: places of the branches that it lies in."""

    kind: str
    macs: float
    weights: float
    outputs: float
    shares: tuple[Array, ...]
    branches: tuple[int, ...]


class GraphFeatures:
    """Logarithms of the multiply-accumulates of each kind of layer and of all, of the weights and of the outputs of
    layers; and how many layers are left. Relative to the unpruned network. A width counts by its part of the channels,
    so a group whose blocks differ in size is a little off."""

    def __init__(self, analysis: Analysis, space: PruningSpace) -> None:
        self._shares = [np.array(gene.widths) / gene.channels for gene in space.genes]
        self._branches = len(space.branches)
        places = {branch.name: place for place, branch in enumerate(space.branches)}
        inside: dict[str, list[int]] = {}
        for branch in analysis.branches:
            if branch.name in places:
                for name in branch.layers:
                    inside.setdefault(name, []).append(places[branch.name])
        self._work = tuple(_work(analysis, inside))
        self._kinds = tuple(dict.fromkeys(work.kind for work in self._work))

    def __call__(self, genomes: NDArray[np.int64]) -> Array:
        """genomes: (n, genes of the space) indices. Returns (n, features)."""
        groups = len(self._shares)
        kept = np.ones((len(genomes), groups + 1))
        for group, shares in enumerate(self._shares):
            kept[:, group] = shares[genomes[:, group]]
        present = genomes[:, groups : groups + self._branches] > 0
        macs = {kind: np.zeros(len(genomes)) for kind in self._kinds}
        dense = dict.fromkeys(self._kinds, 0.0)
        weights, outputs, depth = (np.zeros(len(genomes)) for _ in range(3))
        for work in self._work:
            there = present[:, work.branches].all(axis=1).astype(float)
            part = there * np.prod([kept @ share for share in work.shares], axis=0)
            macs[work.kind] += work.macs * part
            dense[work.kind] += work.macs
            weights += work.weights * part
            outputs += work.outputs * there * (kept @ work.shares[0])
            depth += there
        columns = [_log(macs[kind], dense[kind]) for kind in self._kinds]
        columns.append(_log(np.sum(list(macs.values()), axis=0), sum(dense.values())))
        columns.append(_log(weights, sum(work.weights for work in self._work)))
        columns.append(_log(outputs, sum(work.outputs for work in self._work)))
        columns.append(depth / max(len(self._work), 1))
        return np.stack(columns, axis=1)


def _log(values: Array, dense: float) -> Array:
    return np.asarray(np.log(np.maximum(values / dense, LEAST) if dense else np.ones(len(values))))


def _work(analysis: Analysis, inside: dict[str, list[int]]) -> Sequence[_Work]:
    graph = analysis.graph
    names = [node.name for node in analysis.model.graph.node]
    gene_of = np.full(len(graph.classes), len(analysis.groups))
    for group, cells in enumerate(analysis.group_cells):
        for classes in cells.classes:
            gene_of[classes] = group

    def share(labels: Labels) -> Array:
        return np.bincount(gene_of[labels], minlength=len(analysis.groups) + 1) / len(labels)

    found = []
    for layer in graph.layers:
        size = analysis.constants[layer.weight].size
        axes = [layer.outputs]
        if layer.inputs is not None and layer.input_axis is not None:
            axes.append(layer.inputs)
        found.append(
            _Work(
                kind=LayerKind.LINEAR.value if layer.kind is LayerKind.OTHER else layer.kind.value,
                macs=float(layer.positions * size),
                weights=float(size),
                outputs=float(layer.positions * len(layer.outputs)),
                shares=tuple(share(labels) for labels in (*axes, *layer.across)),
                branches=tuple(inside.get(names[layer.node], ())),
            )
        )
    found += [
        _Work(
            kind="product",
            macs=float(product.macs),
            weights=0.0,
            outputs=0.0,
            shares=tuple(share(labels) for labels in product.axes),
            branches=tuple(inside.get(names[product.node], ())),
        )
        for product in graph.products
        if product.axes
    ]
    return found
