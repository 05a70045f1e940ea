"""How much a model multiplies and holds: of the base model, and of what a cut leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from edgepareto.host.pruning.channel_group import share_kept
from edgepareto.host.pruning.dependency_graph import DependencyGraph
from numpy.typing import NDArray

__all__ = ["count_macs", "count_parameters", "layer_macs"]

FLOATING = ("float", "bfloat")  # numpy does not know the types that ONNX has beside its own


def layer_macs(graph: DependencyGraph, constants: Mapping[str, NDArray[np.generic]]) -> list[int]:
    return [layer.positions * constants[layer.weight].size for layer in graph.layers]


def count_macs(
    graph: DependencyGraph,
    arrays: Mapping[str, NDArray[np.generic]],
    kept: NDArray[np.bool_],
    gone: Collection[int] = (),
) -> int:
    """arrays: the initializers, cut to the classes `kept`; kept: (classes,). gone: nodes that are left out."""
    of_layers = [
        layer.positions * arrays[layer.weight].size * share_kept(kept, layer.across)
        for layer in graph.layers
        if layer.node not in gone
    ]
    of_products = (p.macs * share_kept(kept, p.axes) for p in graph.products if p.node not in gone)
    return round(sum(of_layers) + sum(of_products))


def count_parameters(constants: Mapping[str, NDArray[np.generic]]) -> int:
    return sum(value.size for value in constants.values() if value.dtype.name.startswith(FLOATING))
