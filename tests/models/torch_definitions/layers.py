"""What several definitions share: a convolution with its norm, squeeze and excitation, a classifier, seeded values."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Activation", "Classifier", "ConvNorm", "SqueezeExcite", "seeded"]

Activation = Callable[[], nn.Module]


class ConvNorm(nn.Sequential):
    """Convolution without bias, BatchNorm, activation (None: no activation); padded so that stride 1 keeps the size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Activation | None = nn.ReLU,
    ) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), *([] if activation is None else [activation()]))


class SqueezeExcite(nn.Module):
    def __init__(
        self, channels: int, squeezed: int, *, activation: Activation = nn.ReLU, gate: Activation = nn.Sigmoid
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.activation(self.reduce(self.pool(x)))))


class Classifier(nn.Sequential):
    """Global average, flatten, one linear layer."""

    def __init__(self, channels: int, classes: int = 10) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


@torch.no_grad()
def seeded(build: Callable[[], nn.Module], seed: int, example: tuple[Tensor, ...]) -> nn.Module:
    """The network in evaluation mode with values drawn from the seed: no statistic, bias or scale is zero or one.

    Weights have He's variance and BatchNorm's statistics are those of the example, disturbed, so that activations stay
    near 1 from layer to layer and no statistic is exact.
    """
    torch.manual_seed(seed)
    network = build()
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            _draw_weight(module.weight, module.weight[0].numel(), 2.0 if module.weight.ndim > 2 else 1.0)
            _draw_bias(module.bias)
        elif isinstance(module, nn.ConvTranspose2d):
            stride = math.prod(module.stride)
            _draw_weight(module.weight, module.weight.numel() // module.out_channels // stride, 2.0)
            _draw_bias(module.bias)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0  # the statistics of one batch replace those before
            module.weight.uniform_(0.5, 1.5)
            _draw_bias(module.bias)
        elif isinstance(module, nn.LayerNorm):
            module.weight.uniform_(0.5, 1.5)
            _draw_bias(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            _draw_weight(module.in_proj_weight, module.embed_dim, 1.0)
            _draw_bias(module.in_proj_bias)
        elif isinstance(module, (nn.LSTM, nn.GRU)):
            for name, value in module.named_parameters():
                if name.startswith("weight"):
                    _draw_weight(value, value.shape[1], 2.0)
                else:
                    _draw_bias(value)
        elif isinstance(module, nn.PReLU):
            module.weight.uniform_(0.1, 0.4)
    network.train()(*example)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 0.1
            module.running_mean += torch.empty_like(module.running_mean).normal_(0, 0.1) * module.running_var.sqrt()
            module.running_var *= torch.empty_like(module.running_var).uniform_(0.5, 1.5)
    return network.eval()


def _draw_weight(weight: Tensor, fan_in: int, gain: float) -> None:
    weight.normal_(0, math.sqrt(gain / fan_in))


def _draw_bias(bias: Tensor | None) -> None:
    if bias is not None:
        bias.normal_(0, 0.1)
