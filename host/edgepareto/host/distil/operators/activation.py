"""Activations: of one tensor, element by element or along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.registry import computes

__all__ = ["clip", "gelu", "plain", "prelu", "shaped", "softmax"]

F = torch.nn.functional
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "HardSwish": F.hardswish,
    "Mish": F.mish,
    "Erf": torch.erf,
}
SHAPED: dict[str, tuple[Callable[..., Tensor], dict[str, float]]] = {  # with the defaults of its attributes
    "LeakyRelu": (F.leaky_relu, {"alpha": 0.01}),
    "Elu": (F.elu, {"alpha": 1.0}),
    "Celu": (F.celu, {"alpha": 1.0}),
    "ThresholdedRelu": (lambda x, alpha: torch.where(x > alpha, x, 0.0), {"alpha": 1.0}),
    "HardSigmoid": (lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1), {"alpha": 0.2, "beta": 0.5}),
    "Selu": (
        lambda x, alpha, gamma: gamma * F.elu(x, alpha),
        {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    ),
}


@computes(*PLAIN)
def plain(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    return PLAIN[node.op_type](data)


@computes(*SHAPED)
def shaped(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    function, defaults = SHAPED[node.op_type]
    return function(data, *(node.get(name, default) for name, default in defaults.items()))


@computes("Gelu")
def gelu(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    return F.gelu(data, approximate=node.get("approximate", "none"))


@computes("PRelu")
def prelu(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """The slope broadcasts from the last axis, not along the channels as torch's."""
    data, slope = inputs
    return torch.where(data < 0, slope * data, data)


@computes("Clip")
def clip(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, low, high = (*inputs, None, None)[:3]
    low = node.get("min") if low is None else float(low)
    high = node.get("max") if high is None else float(high)
    return data if low is None and high is None else data.clamp(low, high)


@computes("Softmax", "LogSoftmax")
def softmax(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Before opset 13 over all axes from `axis` on."""
    (data,) = inputs
    function = torch.softmax if node.op_type == "Softmax" else torch.log_softmax
    if node.opset >= 13:
        return function(data, node.get("axis", -1))
    axis = node.get("axis", 1) % data.dim()
    return function(data.flatten(axis), axis).reshape(data.shape)
