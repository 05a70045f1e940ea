"""MobileNetV2 and ResNet-50 with the published widths, by hand: torchvision does not load beside every torch.

Loaded only in the rivals' environment (rivals.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["NETS"]

# Sandler et al., MobileNetV2 (2018), table 2: expansion, channels, blocks, stride of the first
MOBILENET_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# He et al., Deep Residual Learning (2015), table 1: channels inside a bottleneck, blocks, stride of the first
RESNET_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


def convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, then: type[nn.Module] = nn.Identity
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        then(),
    )


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            convolution(inputs, hidden, 1, then=nn.ReLU6) if expansion > 1 else nn.Identity(),
            convolution(hidden, hidden, 3, stride=stride, groups=hidden, then=nn.ReLU6),
            convolution(hidden, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds else self.body(x)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, *, stride: int) -> None:
        super().__init__()
        outputs = 4 * inner
        self.body = nn.Sequential(
            convolution(inputs, inner, 1, then=nn.ReLU),
            convolution(inner, inner, 3, stride=stride, then=nn.ReLU),
            convolution(inner, outputs, 1),
        )
        self.shortcut = nn.Identity() if inputs == outputs else convolution(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Classifier(nn.Module):
    def __init__(self, *features: nn.Module, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.head = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def mobilenet_v2() -> Classifier:
    blocks: list[nn.Module] = []
    channels = 32
    for expansion, outputs, count, stride in MOBILENET_STAGES:
        for number in range(count):
            blocks.append(InvertedResidual(channels, outputs, stride=1 if number else stride, expansion=expansion))
            channels = outputs
    stem = convolution(3, 32, 3, stride=2, then=nn.ReLU6)
    return Classifier(stem, *blocks, convolution(channels, 1280, 1, then=nn.ReLU6), channels=1280)


def resnet50() -> Classifier:
    blocks: list[nn.Module] = []
    channels = 64
    for inner, count, stride in RESNET_STAGES:
        for number in range(count):
            blocks.append(Bottleneck(channels, inner, stride=1 if number else stride))
            channels = 4 * inner
    stem = convolution(3, 64, 7, stride=2, then=nn.ReLU)
    return Classifier(stem, nn.MaxPool2d(3, 2, 1), *blocks, channels=channels)


NETS: dict[str, Callable[[], Classifier]] = {"mobilenet_v2": mobilenet_v2, "resnet50": resnet50}
