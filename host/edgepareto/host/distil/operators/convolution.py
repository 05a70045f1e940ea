"""Conv and ConvTranspose over one to three axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.operators.padding import Pads, pad, window_pads
from edgepareto.host.distil.registry import computes
from edgepareto.host.distil.unsupported import Unsupported

__all__ = ["conv", "conv_transpose"]

F = torch.nn.functional
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@computes("Conv")
def conv(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, weight, bias = (*inputs, None)[:3]
    rank = _rank(node, data)
    dilations = node.get("dilations", [1] * rank)
    pads = window_pads(node, data.shape[2:], _extents(weight.shape[2:], dilations))
    if all(before == after >= 0 for before, after in pads):
        own = [before for before, _ in pads]
    else:
        data, own = pad(data, pads), [0] * rank
    strides = node.get("strides", [1] * rank)
    return CONV[rank](data, weight, bias, strides, own, dilations, node.get("group", 1))


@computes("ConvTranspose")
def conv_transpose(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, weight, bias = (*inputs, None)[:3]
    rank = _rank(node, data)
    dilations, strides = node.get("dilations", [1] * rank), node.get("strides", [1] * rank)
    more = node.get("output_padding", [0] * rank)
    whole = CONV_TRANSPOSE[rank](data, weight, None, strides, 0, 0, node.get("group", 1), dilations)
    extents = _extents(weight.shape[2:], dilations)
    full = [(size - 1) * stride + e for size, stride, e in zip(data.shape[2:], strides, extents, strict=True)]
    cuts = _cuts(node, data.shape[2:], [size + extra for size, extra in zip(full, more, strict=True)])
    # torch takes no output_padding as large as the stride: what follows the last window is zeros, and then the bias.
    placed = pad(whole, [(-before, extra - after) for (before, after), extra in zip(cuts, more, strict=True)])
    return placed if bias is None else placed + bias.reshape(1, -1, *[1] * rank)


def _cuts(node: Node, sizes: Sequence[int], full: Sequence[int]) -> Pads:
    """What is cut off of each axis of the whole output, whose sizes are `full`."""
    mode, wanted, strides = node.get("auto_pad", "NOTSET"), node.get("output_shape"), node.get("strides")
    if wanted is None and mode in ("NOTSET", "VALID"):
        given = node.get("pads", [0] * (2 * len(sizes))) if mode == "NOTSET" else [0] * (2 * len(sizes))
        return list(zip(given[: len(sizes)], given[len(sizes) :], strict=True))
    if wanted is None:
        wanted = [size * stride for size, stride in zip(sizes, strides or [1] * len(sizes), strict=True)]
    totals = [max(0, size - target) for size, target in zip(full, wanted[-len(sizes) :], strict=True)]
    if mode == "SAME_UPPER":
        return [(total // 2, total - total // 2) for total in totals]
    return [(total - total // 2, total // 2) for total in totals]


def _rank(node: Node, data: Tensor) -> int:
    rank = int(data.dim()) - 2
    if rank not in CONV:
        raise Unsupported(f"{node.op_type} over {rank} axes")
    return rank


def _extents(kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    return [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
