"""Channel groups: the genes of a search. One group is a set of channel classes that pass the same layers.

A group has one cell of channels, or several that lose them together: those a grouped convolution keeps apart. Within a
cell any channel may go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.dependency_graph import DependencyGraph
from edgepareto.host.pruning.equal_blocks import Cells, balanced_cells
from numpy.typing import NDArray

__all__ = ["ChannelGroup", "FrozenGroup", "find_groups", "share_kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Channels that may be cut to any of `widths`: ascending, the last one `channels`. layers: those that make them, in
    graph order.

    features: of a layer's output that go with one channel: all of a head's in attention, elsewhere 1.
    share_of_macs: the part of the model's MACs that would vanish with all of the group's channels.
    """

    name: str
    channels: int
    features: int
    widths: tuple[int, ...]
    layers: tuple[str, ...]
    share_of_macs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenGroup:
    """Channels that keep their number, and why in words a user understands."""

    name: str
    channels: int
    layers: tuple[str, ...]
    reason: str


def find_groups(
    graph: DependencyGraph, layer_macs: Sequence[int]
) -> tuple[tuple[ChannelGroup, ...], tuple[Cells, ...], tuple[FrozenGroup, ...]]:
    """The prunable groups, the cells of each, and the frozen ones; in graph order.

    layer_macs: of the base model, per layer of the graph. Classes that lie in the same blocks form a cell, so every
    block (a layer's outputs, a piece of a Split) keeps a channel as long as every cell does.
    """
    owned = _layers_by_class(graph)
    groups: list[ChannelGroup] = []
    cells: list[Cells] = []
    frozen: list[FrozenGroup] = []
    taken: dict[str, int] = {}
    for of_group in balanced_cells(graph.classes):
        members = np.concatenate(of_group.classes)
        layers = _in_graph_order(graph, {layer for index in members.tolist() for layer in owned[index]})
        if not layers:
            continue
        name = _unique(layers[0], taken)
        reason = _reason(graph, of_group)
        if reason is not None:
            frozen.append(FrozenGroup(name=name, channels=len(members), layers=layers, reason=reason))
            continue
        groups.append(
            ChannelGroup(
                name=name,
                channels=len(members),
                features=_features(graph, int(members[0])),
                widths=of_group.widths,
                layers=layers,
                share_of_macs=_share_of_macs(graph, layer_macs, members),
            )
        )
        cells.append(of_group)
    return tuple(groups), tuple(cells), tuple(frozen)


def share_kept(kept: NDArray[np.bool_], axes: Sequence[Labels]) -> float:
    """Of a tensor's elements, where these of its axes are cut to the classes `kept`."""
    return math.prod(float(kept[axis].mean()) for axis in axes)


def _reason(graph: DependencyGraph, of_group: Cells) -> str | None:
    """Why these keep their number; None: they need not."""
    found = {graph.classes.frozen.get(int(cell[0])) for cell in of_group.classes}
    reasons = sorted(reason for reason in found if reason is not None)
    if reasons and None in found:
        return f"must lose as many channels as others that are frozen, of which one {reasons[0]}"
    if reasons:
        return reasons[0]
    if len(of_group.widths) == 1:
        return "has a single channel" if of_group.widths[-1] == 1 else "has too few channels to lose one in each part"
    return None


def _layers_by_class(graph: DependencyGraph) -> list[list[str]]:
    owned: list[list[str]] = [[] for _ in range(len(graph.classes))]
    for labels, name in graph.owners:
        for index in np.unique(labels).tolist():
            owned[index].append(name)
    return owned


def _features(graph: DependencyGraph, channel: int) -> int:
    """How often the channel stands in the outputs of the layers that make it, in common."""
    return math.gcd(*(int(np.count_nonzero(labels == channel)) for labels, _ in graph.owners))


def _in_graph_order(graph: DependencyGraph, layers: set[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for _, name in graph.owners if name in layers))


def _share_of_macs(graph: DependencyGraph, layer_macs: Sequence[int], of_group: Labels) -> float:
    kept = np.ones(len(graph.classes), dtype=bool)
    kept[of_group] = False
    vanished = 0.0
    for layer, macs in zip(graph.layers, layer_macs, strict=True):
        remaining = float(kept[layer.outputs].mean())
        if layer.inputs is not None and layer.input_axis is not None:
            remaining *= float(kept[layer.inputs].mean())
        vanished += macs * (1 - remaining * share_kept(kept, layer.across))
    for product in graph.products:
        vanished += product.macs * (1 - share_kept(kept, product.axes))
    total = sum(layer_macs) + sum(product.macs for product in graph.products)
    return vanished / total if total else 0.0


def _unique(name: str, taken: dict[str, int]) -> str:
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}#{taken[name]}"
