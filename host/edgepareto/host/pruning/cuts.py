"""What in a graph must change when channels go: initializers that are cut, and numbers that count channels."""

from __future__ import annotations

from dataclasses import dataclass

from edgepareto.host.pruning.channel_labels import Labels

__all__ = ["AttributeCount", "BlockCut", "Count", "Cut", "IndexCut"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Index i of this axis of this initializer lives as long as labels[i]."""

    tensor: str
    axis: int
    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCut:
    """labels: (blocks, n). In block b, one of as many equal parts of axis 0, index i of `axis` lives as labels[b, i].

    Every block keeps equally many (a grouped convolution's weight, the two directions of an LSTM).
    """

    tensor: str
    axis: int
    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCut:
    """This initializer holds positions on an axis with labels `source`: those that are gone vanish, the others move up.

    labels: of its entries, in order.
    """

    tensor: str
    source: Labels
    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Entry `position` of this 1-D initializer (a Reshape target, a Split size) is the number of these labels kept.

    behind: the axis' other labels, where the entry counts from its end (a negative bound of a Slice).
    """

    tensor: str
    position: int
    labels: Labels
    behind: Labels | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeCount:
    """The same for a node's attribute; position None: a single integer."""

    node: int
    attribute: str
    position: int | None
    labels: Labels
    behind: Labels | None = None
