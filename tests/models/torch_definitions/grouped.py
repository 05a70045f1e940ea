"""Networks around grouped convolutions: ResNeXt, RegNet, ShuffleNet v1 and v2."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from models.torch_definitions.layers import Classifier, ConvNorm
from torch import Tensor, nn

__all__ = ["NETWORKS"]


class GroupedBottleneck(nn.Module):
    """1x1, grouped 3x3, 1x1 beside a shortcut (Xie et al. 2017; with a bottleneck as wide, Radosavovic et al. 2020)."""

    def __init__(self, inputs: int, width: int, outputs: int, *, groups: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(inputs, width),
            ConvNorm(width, width, 3, stride=stride, groups=groups),
            ConvNorm(width, outputs, activation=None),
        )
        plain = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if plain else ConvNorm(inputs, outputs, stride=stride, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def resnext() -> nn.Module:
    """Four groups in every block, whatever its width."""
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2),
        GroupedBottleneck(16, 32, 48, groups=4),
        GroupedBottleneck(48, 32, 48, groups=4),
        GroupedBottleneck(48, 64, 64, groups=4, stride=2),
        GroupedBottleneck(64, 64, 64, groups=4),
        Classifier(64),
    )


def regnet() -> nn.Module:
    """Groups of eight channels in every block, whatever their number."""
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2),
        GroupedBottleneck(16, 32, 32, groups=4),
        GroupedBottleneck(32, 32, 32, groups=4),
        GroupedBottleneck(32, 64, 64, groups=8, stride=2),
        GroupedBottleneck(64, 64, 64, groups=8),
        Classifier(64),
    )


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    x = x.view(batch, groups, channels // groups, height, width)
    return x.transpose(1, 2).contiguous().view(batch, channels, height, width)


class ShuffleUnitV1(nn.Module):
    """Zhang et al. 2018: grouped 1x1, shuffle, depthwise, grouped 1x1; at stride 2 the shortcut is concatenated."""

    def __init__(self, inputs: int, outputs: int, *, groups: int, stride: int = 1, first: bool = False) -> None:
        super().__init__()
        self.groups = groups
        middle = outputs // 4
        made = outputs - inputs if stride == 2 else outputs
        # The first unit sees too few channels to group its first convolution.
        self.squeeze = ConvNorm(inputs, middle, groups=1 if first else groups)
        self.depthwise = ConvNorm(middle, middle, 3, stride=stride, groups=middle, activation=None)
        self.expand = ConvNorm(middle, made, groups=groups, activation=None)
        self.shortcut = nn.AvgPool2d(3, stride, 1) if stride == 2 else nn.Identity()
        self.concatenates = stride == 2

    def forward(self, x: Tensor) -> Tensor:
        made = self.expand(self.depthwise(channel_shuffle(self.squeeze(x), self.groups)))
        if self.concatenates:
            return torch.relu(torch.cat([self.shortcut(x), made], 1))
        return torch.relu(x + made)


def shufflenet_v1() -> nn.Module:
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2),
        ShuffleUnitV1(16, 64, groups=4, stride=2, first=True),
        ShuffleUnitV1(64, 64, groups=4),
        ShuffleUnitV1(64, 128, groups=4, stride=2),
        ShuffleUnitV1(128, 128, groups=4),
        Classifier(128),
    )


class ShuffleUnitV2(nn.Module):
    """Ma et al. 2018: half of the channels pass by, or at stride 2 both halves are made; then they are shuffled."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        half = outputs // 2
        self.splits = stride == 1
        if not self.splits:
            self.by_pass = nn.Sequential(
                ConvNorm(inputs, inputs, 3, stride=stride, groups=inputs, activation=None), ConvNorm(inputs, half)
            )
        self.body = nn.Sequential(
            ConvNorm(half if self.splits else inputs, half),
            ConvNorm(half, half, 3, stride=stride, groups=half, activation=None),
            ConvNorm(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.splits:
            kept, worked = x.chunk(2, dim=1)
            return channel_shuffle(torch.cat([kept, self.body(worked)], 1), 2)
        return channel_shuffle(torch.cat([self.by_pass(x), self.body(x)], 1), 2)


def shufflenet_v2() -> nn.Module:
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2),
        ShuffleUnitV2(16, 32, stride=2),
        ShuffleUnitV2(32, 32),
        ShuffleUnitV2(32, 32),
        ShuffleUnitV2(32, 64, stride=2),
        ShuffleUnitV2(64, 64),
        ConvNorm(64, 96),
        Classifier(96),
    )


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "resnext": resnext,
    "regnet": regnet,
    "shufflenet_v1": shufflenet_v1,
    "shufflenet_v2": shufflenet_v2,
}
