"""Reductions over axes, which newer opsets give as an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.operators.shape import numbers
from edgepareto.host.distil.registry import computes

__all__ = ["reduce_axes"]

Axes = tuple[int, ...]


def _product(data: Tensor, axes: Axes) -> Tensor:
    for axis in axes:
        data = data.prod(axis, keepdim=True)
    return data


REDUCTIONS: dict[str, Callable[[Tensor, Axes], Tensor]] = {  # all keep the axes that they reduce
    "ReduceMean": lambda x, axes: x.mean(axes, keepdim=True),
    "ReduceSum": lambda x, axes: x.sum(axes, keepdim=True),
    "ReduceMax": lambda x, axes: x.amax(axes, keepdim=True),
    "ReduceMin": lambda x, axes: x.amin(axes, keepdim=True),
    "ReduceL1": lambda x, axes: x.abs().sum(axes, keepdim=True),
    "ReduceL2": lambda x, axes: (x * x).sum(axes, keepdim=True).sqrt(),
    "ReduceSumSquare": lambda x, axes: (x * x).sum(axes, keepdim=True),
    "ReduceLogSum": lambda x, axes: x.sum(axes, keepdim=True).log(),
    "ReduceLogSumExp": lambda x, axes: torch.logsumexp(x, axes, keepdim=True),
    "ReduceProd": _product,
}


@computes(*REDUCTIONS)
def reduce_axes(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, axes = inputs[0], numbers(node, inputs, 1, "axes")
    if not axes and node.get("noop_with_empty_axes", 0):
        return data
    places = tuple(sorted(axis % data.dim() for axis in axes)) if axes else tuple(range(data.dim()))
    reduced = REDUCTIONS[node.op_type](data, places) if places else data
    return reduced if node.get("keepdims", 1) else reduced.squeeze(places)
