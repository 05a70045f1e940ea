"""What an operator costs on a board: arithmetic, memory, dispatch. Knows neither files nor a runtime.

The shape of the model and every constant are those of docs/board-facts.md, section 5. They were fitted there on
published latencies of whole models, so what one operator costs is an inference and not a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from math import ceil

__all__ = ["ARITHMETIC_KINDS", "CostTable", "OpKind", "Operator", "ThreadCosts", "operator_cost_s"]


class OpKind(str, Enum):
    CONV_3X3 = "conv_3x3"  # stride 1 and one group: what a Winograd kernel takes
    CONV = "conv"
    POINTWISE = "pointwise"
    DEPTHWISE = "depthwise"
    GROUPED = "grouped"
    FULLY_CONNECTED = "fully_connected"
    ELEMENTWISE = "elementwise"
    ACTIVATION = "activation"  # of one tensor, after a layer: what some runtimes compute within it
    CONCAT = "concat"
    POOL = "pool"


# Those lowered to a matrix product, where short reductions are inefficient (K0).
_GEMM_KINDS = frozenset(
    {OpKind.CONV_3X3, OpKind.CONV, OpKind.POINTWISE, OpKind.GROUPED, OpKind.FULLY_CONNECTED},
)
ARITHMETIC_KINDS = _GEMM_KINDS | {OpKind.DEPTHWISE}  # those that have a rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator at its real sizes, in elements and not in bytes: precision belongs to the board's profile.

    outputs: elements of the output. reduction: multiply-accumulates per output element, 0 where it only moves data.
    channels: output channels, the width that kernels pad. moved: elements read and written without the weights.
    reads_image: a convolution of at most four input channels.
    """

    kind: OpKind
    outputs: int
    reduction: int
    channels: int
    moved: int
    weights: int = 0
    reads_image: bool = False

    @property
    def macs(self) -> int:
        return self.outputs * self.reduction


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadCosts:
    """The constants for one number of threads. Rates count two operations per multiply-accumulate.

    image_flops_per_s: of convolutions that read an image, which leave a GPU's matrix units idle; None: as others.
    elementwise_dispatch_s: of what has no arithmetic to speak of; None: as the rest.
    """

    flops_per_s: Mapping[OpKind, float]
    bytes_per_s: float
    weight_stream_bytes_per_s: float  # fully connected layers
    dispatch_s: float
    extra_reduction: float  # K0 of docs/board-facts.md
    image_flops_per_s: float | None = None
    elementwise_dispatch_s: float | None = None

    def rate(self, operator: Operator) -> float:
        if operator.reads_image and self.image_flops_per_s is not None:
            return self.image_flops_per_s
        return self.flops_per_s[operator.kind]

    def at_clock(self, share: float) -> ThreadCosts:
        return replace(self.at_gpu_clock(share), dispatch_s=self.dispatch_s / share)

    def at_gpu_clock(self, share: float) -> ThreadCosts:
        image = None if self.image_flops_per_s is None else self.image_flops_per_s * share
        rates = {kind: rate * share for kind, rate in self.flops_per_s.items()}
        return replace(self, flops_per_s=rates, image_flops_per_s=image)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """A board with one runtime and precision.

    channel_step: kernels pad output channels to it: the staircase that a step probe finds.
    additive: arithmetic and memory are added (docs/board-facts.md 5a) instead of the slower one counting (5b).
    rows: by number of threads; at least one thread. free: kinds that the runtime computes within their neighbours.
    """

    channel_step: int
    additive: bool
    bytes_per_element: int
    fixed_s: float
    rows: Mapping[int, ThreadCosts]
    free: frozenset[OpKind] = frozenset()

    def at_clock(self, share: float) -> CostTable:
        """With the cores at that share of the clock that this table is of: memory has a clock of its own."""
        rows = {threads: costs.at_clock(share) for threads, costs in self.rows.items()}
        return replace(self, fixed_s=self.fixed_s / share, rows=rows)

    def at_gpu_clock(self, share: float) -> CostTable:
        """With the GPU at that share of its clock: what launches its kernels and feeds it has others (5c)."""
        return replace(self, rows={threads: costs.at_gpu_clock(share) for threads, costs in self.rows.items()})

    def latency_s(self, operators: Iterable[Operator], threads: int) -> float:
        """One inference without noise.

        Numbers of threads between two rows follow t = A / threads + B through both of them (docs/board-facts.md 3b);
        beyond the last row nothing gets faster.
        """
        listed = tuple(operators)
        low = max(count for count in self.rows if count <= max(threads, min(self.rows)))
        at_low = self._row_latency_s(listed, low)
        higher = [count for count in self.rows if count > low]
        if threads <= low or not higher:
            return at_low
        high = min(higher)
        at_high = self._row_latency_s(listed, high)
        parallel_s = (at_low - at_high) / (1 / low - 1 / high)
        return at_low + parallel_s * (1 / threads - 1 / low)

    def _row_latency_s(self, operators: tuple[Operator, ...], threads: int) -> float:
        return self.fixed_s + sum(operator_cost_s(operator, self, self.rows[threads]) for operator in operators)


def operator_cost_s(operator: Operator, table: CostTable, costs: ThreadCosts) -> float:
    """max(arithmetic, memory) + dispatch.

    On an additive board the sum, where what a convolution moves stands in its rate already and is not counted twice:
    with this reading the published latencies come out as docs/board-facts.md says (tests/agent/simulation).
    """
    if operator.kind in table.free:
        return 0.0
    arithmetic_s, dispatch_s = 0.0, costs.dispatch_s
    if not operator.reduction and costs.elementwise_dispatch_s is not None:
        dispatch_s = costs.elementwise_dispatch_s
    if operator.reduction:
        padded_channels = ceil(operator.channels / table.channel_step) * table.channel_step
        padded_outputs = operator.outputs * padded_channels / operator.channels
        reduction = operator.reduction + (costs.extra_reduction if operator.kind in _GEMM_KINDS else 0.0)
        arithmetic_s = 2 * padded_outputs * reduction / costs.rate(operator)
    is_weight_stream = operator.kind is OpKind.FULLY_CONNECTED
    weight_rate = costs.weight_stream_bytes_per_s if is_weight_stream else costs.bytes_per_s
    memory_s = table.bytes_per_element * (operator.moved / costs.bytes_per_s + operator.weights / weight_rate)
    if not table.additive:
        return max(arithmetic_s, memory_s) + dispatch_s
    if operator.reduction and not is_weight_stream:
        return arithmetic_s + dispatch_s
    return arithmetic_s + memory_s + dispatch_s
