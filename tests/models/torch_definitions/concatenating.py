"""Networks whose features are concatenated: DenseNet, GoogLeNet, U-Nets, and two small ones that cascade and split."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from models.torch_definitions.layers import Classifier, ConvNorm
from torch import Tensor, nn

__all__ = ["NETWORKS"]


class DenseLayer(nn.Module):
    """Norm, 1x1, norm, 3x3 of everything so far; its output is appended (Huang et al. 2017)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 2 * growth, 1, bias=False),
            nn.BatchNorm2d(2 * growth),
            nn.ReLU(),
            nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


def densenet() -> nn.Module:
    growth = 12
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2),
        *(DenseLayer(16 + index * growth, growth) for index in range(4)),
        nn.Sequential(nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 32, 1, bias=False), nn.AvgPool2d(2)),
        *(DenseLayer(32 + index * growth, growth) for index in range(3)),
        nn.Sequential(nn.BatchNorm2d(68), nn.ReLU()),
        Classifier(68),
    )


class Inception(nn.Module):
    """Four branches side by side (Szegedy et al. 2015)."""

    def __init__(self, inputs: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                ConvNorm(inputs, one),
                nn.Sequential(ConvNorm(inputs, three[0]), ConvNorm(three[0], three[1], 3)),
                nn.Sequential(ConvNorm(inputs, five[0]), ConvNorm(five[0], five[1], 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvNorm(inputs, pooled)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def googlenet() -> nn.Module:
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        Inception(16, 16, (12, 24), (8, 12), 12),
        Inception(64, 16, (16, 24), (8, 12), 12),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        Inception(64, 24, (16, 32), (8, 16), 16),
        Classifier(88),
    )


def twice(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(ConvNorm(inputs, outputs, 3), ConvNorm(outputs, outputs, 3))


class UNet(nn.Module):
    """Down by pooling, up by the layer given, and each level's features beside those that come up (2015)."""

    def __init__(self, up: Callable[[int, int], nn.Module], *, outputs: int = 3) -> None:
        super().__init__()
        self.left_1 = twice(3, 8)
        self.left_2 = twice(8, 16)
        self.bottom = twice(16, 32)
        self.pool = nn.MaxPool2d(2)
        self.up_2 = up(32, 16)
        self.right_2 = twice(32, 16)
        self.up_1 = up(16, 8)
        self.right_1 = twice(16, 8)
        self.head = nn.Conv2d(8, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        left_1 = self.left_1(image)
        left_2 = self.left_2(self.pool(left_1))
        bottom = self.bottom(self.pool(left_2))
        right_2 = self.right_2(torch.cat([left_2, self.up_2(bottom)], 1))
        return self.head(self.right_1(torch.cat([left_1, self.up_1(right_2)], 1)))


def transposed(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, 2, 2)


def resized(inputs: int, outputs: int) -> nn.Module:
    """Bilinear below, nearest above."""
    if inputs == 32:
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), ConvNorm(inputs, outputs)
        )
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), ConvNorm(inputs, outputs))


class CascadedConcat(nn.Module):
    """Concatenations of concatenations, each read by a convolution and by the next concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 16, 3, stride=2)
        self.first = ConvNorm(16, 12, 3)
        self.second = ConvNorm(28, 20, 3)
        self.third = ConvNorm(48, 16, 3)
        self.head = Classifier(16 + 12 + 20 + 16 + 28)

    def forward(self, image: Tensor) -> Tensor:
        stem = self.stem(image)
        one = torch.cat([stem, self.first(stem)], 1)
        two = torch.cat([one, self.second(one)], 1)
        return self.head(torch.cat([two, self.third(two), one], 1))


class ConcatSplit(nn.Module):
    """A concatenation that is split elsewhere than it was joined: each part goes through a convolution of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.left = ConvNorm(3, 16, 3, stride=2)
        self.right = ConvNorm(3, 24, 3, stride=2)
        self.parts = nn.ModuleList([ConvNorm(8, 16, 3), ConvNorm(20, 16, 3), ConvNorm(12, 16, 3)])
        self.halves = nn.ModuleList([ConvNorm(24, 16, 3), ConvNorm(24, 16, 1)])
        self.head = Classifier(32)

    def forward(self, image: Tensor) -> Tensor:
        joined = torch.cat([self.left(image), self.right(image)], 1)
        made = [part(x) for part, x in zip(self.parts, joined.split([8, 20, 12], 1), strict=True)]
        halves = torch.cat(made, 1).chunk(2, 1)
        return self.head(torch.cat([half(x) for half, x in zip(self.halves, halves, strict=True)], 1))


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "densenet": densenet,
    "googlenet": googlenet,
    "unet_transposed": lambda: UNet(transposed),
    "unet_resize": lambda: UNet(resized),
    "single_channel_output": lambda: UNet(transposed, outputs=1),
    "cascaded_concat": CascadedConcat,
    "concat_split": ConcatSplit,
}
