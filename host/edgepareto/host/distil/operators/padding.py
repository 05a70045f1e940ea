"""Where windows begin and end: ONNX's pads, its automatic ones among them, as torch's pad takes them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor

__all__ = ["Pads", "pad", "window_pads"]

Pads = list[tuple[int, int]]  # per spatial axis: before and after


def window_pads(node: Node, sizes: Sequence[int], kernel: Sequence[int]) -> Pads:
    """Of a convolution or a pooling over axes of these sizes. kernel: the extents of its windows, dilated."""
    mode = node.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        strides = node.get("strides", [1] * len(sizes))
        totals = [
            max(0, (-(-size // stride) - 1) * stride + extent - size)
            for size, stride, extent in zip(sizes, strides, kernel, strict=True)
        ]
        smaller = [total // 2 for total in totals]
        larger = [total - half for total, half in zip(totals, smaller, strict=True)]
        return list(zip(smaller, larger, strict=True) if mode == "SAME_UPPER" else zip(larger, smaller, strict=True))
    given = node.get("pads", [0] * (2 * len(sizes))) if mode == "NOTSET" else [0] * (2 * len(sizes))
    return list(zip(given[: len(sizes)], given[len(sizes) :], strict=True))


def pad(data: Tensor, pads: Pads, value: float = 0.0, mode: str = "constant") -> Tensor:
    """pads: of the last axes, in order; negative ones cut off."""
    if not any(any(pair) for pair in pads):
        return data
    flat = [end for pair in reversed(pads) for end in pair]
    return torch.nn.functional.pad(data, flat, mode=mode, value=value if mode == "constant" else None)
