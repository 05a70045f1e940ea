"""Pooling: windows as ONNX places them, the last one of `ceil_mode` among them, then torch's own functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.operators.padding import Pads, pad, window_pads
from edgepareto.host.distil.registry import computes
from edgepareto.host.distil.unsupported import Unsupported

__all__ = ["average_pool", "lp_pool", "max_pool", "pool_all"]

F = torch.nn.functional
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@computes("MaxPool")
def max_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    node.require_one_output()
    (data,) = inputs
    pads, beyond = _placed(node, data)
    strides, dilations = _strides(node), node.get("dilations", [1] * len(pads))
    padded = pad(data, _joined(pads, beyond), float("-inf"))
    return MAX_POOL[len(pads)](padded, node.get("kernel_shape"), strides, 0, dilations)


@computes("AveragePool")
def average_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Of what lies in the window: the pads count where the node says so, what `ceil_mode` adds never does."""
    (data,) = inputs
    node.require("dilations", [1] * (data.dim() - 2))
    pads, beyond = _placed(node, data)
    kernel, strides, pool = node.get("kernel_shape"), _strides(node), AVERAGE_POOL[len(pads)]
    means = pool(pad(data, _joined(pads, beyond)), kernel, strides)
    cells = torch.ones_like(data[:1, :1])
    cells = pad(pad(cells, pads, float(node.get("count_include_pad", 0))), beyond)
    shares = pool(cells, kernel, strides)
    return means if bool((shares == 1).all()) else means / shares


@computes("LpPool")
def lp_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    node.require("dilations", [1] * (data.dim() - 2))
    pads, beyond = _placed(node, data)
    kernel, power = node.get("kernel_shape"), node.get("p", 2)
    means = AVERAGE_POOL[len(pads)](pad(data.abs() ** power, _joined(pads, beyond)), kernel, _strides(node))
    return (means * torch.Size(kernel).numel()) ** (1 / power)


@computes("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def pool_all(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    axes = tuple(range(2, data.dim()))
    if node.op_type == "GlobalLpPool":
        return data.norm(node.get("p", 2), axes, keepdim=True)
    return data.mean(axes, keepdim=True) if node.op_type == "GlobalAveragePool" else data.amax(axes, keepdim=True)


def _placed(node: Node, data: Tensor) -> tuple[Pads, Pads]:
    """The node's pads, and what its last windows reach beyond them."""
    rank = data.dim() - 2
    if rank not in MAX_POOL:
        raise Unsupported(f"{node.op_type} over {rank} axes")
    dilations = node.get("dilations", [1] * rank)
    extents = [(k - 1) * d + 1 for k, d in zip(node.get("kernel_shape"), dilations, strict=True)]
    pads = window_pads(node, data.shape[2:], extents)
    if not node.get("ceil_mode", 0):
        return pads, [(0, 0)] * rank
    beyond = []
    for size, stride, extent, (before, after) in zip(data.shape[2:], _strides(node), extents, pads, strict=True):
        windows = -(-(size + before + after - extent) // stride) + 1
        if (windows - 1) * stride >= size + before:  # one that begins in the padding is none
            windows -= 1
        beyond.append((0, max(0, (windows - 1) * stride + extent - size - before - after)))
    return pads, beyond


def _strides(node: Node) -> list[int]:
    return list(node.get("strides", [1] * len(node.get("kernel_shape"))))


def _joined(pads: Pads, beyond: Pads) -> Pads:
    return [(before, after + more) for (before, after), (_, more) in zip(pads, beyond, strict=True)]
