"""Networks around a residual stream of convolutions: ResNet with both blocks, ConvNeXt."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from models.torch_definitions.layers import Classifier, ConvNorm
from torch import Tensor, nn

__all__ = ["NETWORKS"]


class Residual(nn.Module):
    """A body beside a shortcut, which is a 1x1 convolution where the body changes the shape (He et al. 2016)."""

    def __init__(self, body: nn.Module, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = body
        plain = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if plain else ConvNorm(inputs, outputs, stride=stride, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def basic(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    body = nn.Sequential(ConvNorm(inputs, outputs, 3, stride=stride), ConvNorm(outputs, outputs, 3, activation=None))
    return Residual(body, inputs, outputs, stride)


def bottleneck(inputs: int, width: int, stride: int = 1) -> nn.Module:
    body = nn.Sequential(
        ConvNorm(inputs, width), ConvNorm(width, width, 3, stride=stride), ConvNorm(width, 4 * width, activation=None)
    )
    return Residual(body, inputs, 4 * width, stride)


def resnet_basic() -> nn.Module:
    return nn.Sequential(
        ConvNorm(3, 16, 5, stride=2),
        nn.MaxPool2d(3, 2, 1),
        basic(16, 16),
        basic(16, 16),
        basic(16, 32, 2),
        basic(32, 32),
        Classifier(32),
    )


def resnet_bottleneck() -> nn.Module:
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2),
        nn.MaxPool2d(3, 2, 1),
        bottleneck(16, 8),
        bottleneck(32, 8),
        bottleneck(32, 16, 2),
        bottleneck(64, 16),
        Classifier(64),
    )


def bn_kept() -> nn.Module:
    """For an export that leaves BatchNorm beside its convolutions, also where one norm reads a sum."""
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2),
        basic(16, 16),
        nn.BatchNorm2d(16),  # after an addition: there is no convolution to fold it into
        basic(16, 32, 2),
        nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 24, 1)),
        Classifier(24),
    )


class ChannelsFirstNorm(nn.LayerNorm):
    """LayerNorm over the channels of (batch, channels, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    """Depthwise 7x7, then channels last: norm, two linear layers, a learned scale per channel (Liu et al. 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.shrink = nn.Linear(4 * width, width)
        self.layer_scale = nn.Parameter(torch.empty(width).uniform_(0.5, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        last = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        made = self.layer_scale * self.shrink(nn.functional.gelu(self.expand(last)))
        return x + made.permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 24, 4, 4),
        ChannelsFirstNorm(24),
        ConvNextBlock(24),
        ConvNextBlock(24),
        ChannelsFirstNorm(24),
        nn.Conv2d(24, 32, 2, 2),
        ConvNextBlock(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(32),
        nn.Linear(32, 10),
    )


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "resnet_basic": resnet_basic,
    "resnet_bottleneck": resnet_bottleneck,
    "bn_kept": bn_kept,
    "convnext": convnext,
}
