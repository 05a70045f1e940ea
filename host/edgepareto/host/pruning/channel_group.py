"""Channel groups: the genes of a search. One group is a set of channel classes that pass the same layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.dependency_graph import DependencyGraph

__all__ = ["ChannelGroup", "FrozenGroup", "find_groups"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Channels that may be cut to any number >= 1. layers: those that make them, in graph order.

    share_of_macs: the part of the model's MACs that would vanish with all of the group's channels.
    """

    name: str
    channels: int
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
) -> tuple[tuple[ChannelGroup, ...], tuple[Labels, ...], tuple[FrozenGroup, ...]]:
    """The prunable groups, the classes of each, and the frozen ones; all in graph order.

    layer_macs: of the base model, per layer of the graph. Classes that lie in the same blocks form a group, so every
    block (a layer's outputs, a piece of a Split) keeps a channel as long as every group does.
    """
    members: dict[tuple[frozenset[int], str | None], list[int]] = {}
    owned = _layers_by_class(graph)
    for index, blocks in enumerate(graph.classes.blocks):
        if owned[index]:
            members.setdefault((blocks, graph.classes.frozen.get(index)), []).append(index)
    groups: list[ChannelGroup] = []
    classes: list[Labels] = []
    frozen: list[FrozenGroup] = []
    taken: dict[str, int] = {}
    for (_, reason), indices in members.items():
        layers = tuple(owned[indices[0]])
        name = _unique(layers[0], taken)
        if reason is not None or len(indices) == 1:
            why = reason or "has a single channel"
            frozen.append(FrozenGroup(name=name, channels=len(indices), layers=layers, reason=why))
            continue
        of_group = np.array(indices, dtype=np.int64)
        share = _share_of_macs(graph, layer_macs, of_group)
        groups.append(ChannelGroup(name=name, channels=len(indices), layers=layers, share_of_macs=share))
        classes.append(of_group)
    return tuple(groups), tuple(classes), tuple(frozen)


def _layers_by_class(graph: DependencyGraph) -> list[list[str]]:
    owned: list[list[str]] = [[] for _ in range(len(graph.classes))]
    for labels, name in graph.owners:
        for index in np.unique(labels).tolist():
            owned[index].append(name)
    return owned


def _share_of_macs(graph: DependencyGraph, layer_macs: Sequence[int], of_group: Labels) -> float:
    kept = np.ones(len(graph.classes), dtype=bool)
    kept[of_group] = False
    vanished = 0.0
    for layer, macs in zip(graph.layers, layer_macs, strict=True):
        remaining = float(kept[layer.outputs].mean())
        if layer.inputs is not None and layer.input_axis is not None:
            remaining *= float(kept[layer.inputs].mean())
        vanished += macs * (1 - remaining)
    total = sum(layer_macs) + graph.fixed_macs
    return vanished / total if total else 0.0


def _unique(name: str, taken: dict[str, int]) -> str:
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}#{taken[name]}"
