"""The nodes that do a model's work: which weight they have, what they read and make, how much they multiply."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgepareto.host.pruning.channel_labels import Labels

__all__ = ["Layer", "LayerKind", "Product"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A MatMul of two activations. Its MACs per sample are `macs` times the part that is kept on each of these axes."""

    node: int
    macs: int
    axes: tuple[Labels, ...]


class LayerKind(str, Enum):
    CONV = "conv"
    GROUPED = "grouped"  # a convolution in several groups; depthwise is the one with one input channel per group
    LINEAR = "linear"  # Gemm, MatMul: features on the last axis
    GATES = "gates"  # LSTM, GRU, RNN: what the gates make of the input; its outputs are units, not rows
    MEMORY = "memory"  # what they make of the last state; repaired with the GATES of the same node
    OTHER = "other"  # counted, cut, but never repaired


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A node with weights. positions: output positions per sample, so its MACs are positions x elements of its weight;
    across: labels of those axes of positions that lose some when channels go.

    weight axes: input_axis is cut by `inputs` (labels of the data's channels; None: not tracked), output_axis by
    `outputs`. A depthwise weight has no input axis. groups: of a grouped convolution (depthwise: 1, it has as many as
    it keeps channels); the inputs are `groups` equal runs. bias: an initializer of one value per output channel; None
    and can_add_bias: the node takes one as its third input. tied: other nodes read the weight too.
    """

    name: str
    node: int
    kind: LayerKind
    data: str
    output: str
    weight: str
    bias: str | None
    can_add_bias: bool
    inputs: Labels | None
    outputs: Labels
    input_axis: int | None
    output_axis: int
    positions: int
    across: tuple[Labels, ...] = ()
    groups: int = 1
    tied: bool = False
