"""An operator at its real sizes, from the shapes of its tensors with channels first, whichever runtime lists them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

from edgepareto.agent.simulation.cost_model import Operator, OpKind

__all__ = ["Shape", "convolution", "movement", "product", "recurrence", "transposed_convolution"]

Shape: TypeAlias = tuple[int, ...]

_IMAGE_CHANNELS = 4


def movement(kind: OpKind, inputs: Sequence[Shape], output: Shape) -> Operator:
    """What has no arithmetic to speak of."""
    moved = sum(map(prod, inputs)) + prod(output)
    return Operator(kind=kind, outputs=prod(output), reduction=0, channels=_width(output), moved=moved)


def convolution(inputs: Sequence[Shape], output: Shape) -> Operator:
    """Weights are (outputs, inputs / groups, *kernel). Inputs behind them are a bias or a fused addition."""
    data, weights, *more = inputs
    channels_in, channels_out, kernel = data[1], weights[0], weights[2:]
    groups = channels_in // weights[1]
    keeps_size = all(after > before // 2 for before, after in zip(data[2:], output[2:], strict=True))
    if groups > 1:
        kind = OpKind.DEPTHWISE if weights[1] == 1 else OpKind.GROUPED
    elif prod(kernel) == 1:
        kind = OpKind.POINTWISE
    elif kernel == (3, 3) and keeps_size:
        kind = OpKind.CONV_3X3
    else:
        kind = OpKind.CONV
    return Operator(
        kind=kind,
        outputs=prod(output),
        reduction=weights[1] * prod(kernel),
        channels=channels_out,
        moved=prod(data) + prod(output) + sum(map(prod, more)),
        weights=prod(weights),
        reads_image=groups == 1 and channels_in <= _IMAGE_CHANNELS,
    )


def transposed_convolution(inputs: Sequence[Shape], output: Shape) -> Operator:
    """Weights are (inputs, outputs / groups, *kernel): each input element meets all but the first axis of them."""
    data, weights, *more = inputs
    macs = prod(data) * prod(weights[1:])
    return Operator(
        kind=OpKind.CONV,
        outputs=prod(output),
        reduction=max(1, macs // prod(output)),
        channels=_width(output),
        moved=prod(data) + prod(output) + sum(map(prod, more)),
        weights=prod(weights),
    )


def product(inputs: Sequence[Shape], output: Shape) -> Operator:
    """(..., rows, reduction) x (..., reduction, columns), either of the two transposed, or broadcast over the other."""
    left, right, *more = inputs
    columns = output[-1]
    by_left = prod(left) * columns // max(1, prod(output))
    return Operator(
        kind=OpKind.FULLY_CONNECTED,
        outputs=prod(output),
        reduction=max(1, by_left, prod(right[-2:]) // max(1, columns)),
        channels=columns,
        moved=prod(left) + prod(output) + sum(map(prod, more)),
        weights=prod(right),
    )


def recurrence(data: Shape, matrices: Sequence[Shape], output: Shape) -> Operator:
    """Each row of `data` meets every matrix, once per step."""
    weights = sum(map(prod, matrices))
    macs = prod(data[:-1]) * weights
    return Operator(
        kind=OpKind.FULLY_CONNECTED,
        outputs=prod(output),
        reduction=max(1, macs // max(1, prod(output))),
        channels=output[-1],
        moved=prod(data) + prod(output),
        weights=weights,
    )


def _width(shape: Shape) -> int:
    return shape[1] if len(shape) > 1 else 1
