"""Normalisation. BatchNormalization keeps its running statistics, as an exported model does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.registry import computes
from edgepareto.host.distil.unsupported import Unsupported

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "lp_norm",
    "mean_variance_norm",
    "root_mean_square_norm",
]

F = torch.nn.functional


@computes("BatchNormalization")
def batch_norm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    node.require_one_output()
    node.require("training_mode", 0)
    node.require("spatial", 1)
    data, scale, bias, mean, variance = inputs
    return F.batch_norm(data, mean, variance, scale, bias, training=False, eps=node.get("epsilon", 1e-5))


@computes("InstanceNormalization")
def instance_norm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, scale, bias = inputs
    axes = tuple(range(2, data.dim()))
    if not axes:
        raise Unsupported("InstanceNormalization without spatial axes")
    shape = (1, -1, *[1] * len(axes))
    return _normalised(data, axes, node.get("epsilon", 1e-5)) * scale.reshape(shape) + bias.reshape(shape)


@computes("LayerNormalization")
def layer_norm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    node.require_one_output()
    data, scale, bias = (*inputs, None)[:3]
    shape = data.shape[node.get("axis", -1) % data.dim() :]
    found = F.layer_norm(data, shape, eps=node.get("epsilon", 1e-5)) * scale
    return found if bias is None else found + bias


@computes("RMSNormalization")
def root_mean_square_norm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, scale = inputs
    axes = tuple(range(node.get("axis", -1) % data.dim(), data.dim()))
    return data / ((data * data).mean(axes, keepdim=True) + node.get("epsilon", 1e-5)).sqrt() * scale


@computes("GroupNormalization")
def group_norm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, scale, bias = inputs
    groups, shape = node.get("num_groups"), (1, -1, *[1] * (data.dim() - 2))
    found = F.group_norm(data, groups, eps=node.get("epsilon", 1e-5))
    if node.opset < 21:  # a scale per group
        scale, bias = (part.repeat_interleave(data.shape[1] // groups) for part in (scale, bias))
    return found * scale.reshape(shape) + bias.reshape(shape)


@computes("LRN")
def local_response_norm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    shape = {"alpha": node.get("alpha", 1e-4), "beta": node.get("beta", 0.75), "k": node.get("bias", 1.0)}
    return F.local_response_norm(data, node.get("size"), **shape)


@computes("LpNormalization")
def lp_norm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    return data / data.norm(node.get("p", 2), node.get("axis", -1), keepdim=True)


@computes("MeanVarianceNormalization")
def mean_variance_norm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Refused across the batch, where a sample's output would depend on the others."""
    (data,) = inputs
    axes = [axis % data.dim() for axis in node.get("axes", [0, 2, 3])]
    if 0 in axes:
        raise Unsupported("MeanVarianceNormalization across the batch")
    return _normalised(data, tuple(axes), 0.0)


def _normalised(data: Tensor, axes: tuple[int, ...], epsilon: float) -> Tensor:
    mean = data.mean(axes, keepdim=True)
    variance = ((data - mean) ** 2).mean(axes, keepdim=True)
    return (data - mean) / (variance + epsilon).sqrt()
