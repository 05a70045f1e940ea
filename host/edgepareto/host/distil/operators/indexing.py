"""What takes some of the values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.operators.shape import numbers
from edgepareto.host.distil.registry import computes

__all__ = [
    "arg_extreme",
    "cumulative_sum",
    "gather",
    "gather_elements",
    "slice_axes",
    "top_k",
    "triangle",
    "whole_range",
]


@computes("Gather")
def gather(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, places = inputs
    axis = node.get("axis", 0) % data.dim()
    chosen = data.index_select(axis, _wrapped(places, data.shape[axis]).reshape(-1))
    return chosen.reshape((*data.shape[:axis], *places.shape, *data.shape[axis + 1 :]))


@computes("GatherElements")
def gather_elements(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, places = inputs
    axis = node.get("axis", 0) % data.dim()
    return data.gather(axis, _wrapped(places, data.shape[axis]))


@computes("Slice")
def slice_axes(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data = inputs[0]
    starts, ends = numbers(node, inputs, 1, "starts") or [], numbers(node, inputs, 2, "ends") or []
    axes = numbers(node, inputs, 3, "axes") or list(range(len(starts)))
    steps = numbers(node, inputs, 4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = data.shape[axis]
        below = step < 0 and end < -size  # in ONNX before the first, in Python that place from the end
        begin, stop, _ = slice(start, None if below else end, step).indices(size)
        if step > 0:
            data = data[(slice(None),) * (axis % data.dim()) + (slice(begin, stop, step),)]
        else:  # torch has no negative steps
            data = data.index_select(axis, torch.tensor(range(begin, stop, step), dtype=torch.int64))
    return data


@computes("ArgMax", "ArgMin")
def arg_extreme(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    node.require("select_last_index", 0)
    (data,) = inputs
    function = torch.argmax if node.op_type == "ArgMax" else torch.argmin
    return function(data, node.get("axis", 0), keepdim=bool(node.get("keepdims", 1)))


@computes("TopK")
def top_k(node: Node, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    data, largest = inputs[0], bool(node.get("largest", 1))
    (kept,) = numbers(node, inputs, 1, "k") or [0]
    values, places = data.topk(kept, node.get("axis", -1), largest)
    return values, places


@computes("CumSum")
def cumulative_sum(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    node.require("exclusive", 0)
    data, axis = inputs[0], int(inputs[1])
    if node.get("reverse", 0):
        return data.flip(axis).cumsum(axis).flip(axis)
    return data.cumsum(axis)


@computes("Trilu")
def triangle(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    diagonal = int(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else 0
    return (torch.triu if node.get("upper", 1) else torch.tril)(inputs[0], diagonal)


@computes("Range")
def whole_range(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    start, limit, delta = inputs
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def _wrapped(places: Tensor, size: int) -> Tensor:
    """Negative ones count from the end."""
    return torch.where(places < 0, places + size, places).to(torch.int64)
