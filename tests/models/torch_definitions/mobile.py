"""Networks around depthwise convolutions: MobileNet v2 and v3, EfficientNet, GhostNet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from models.torch_definitions.layers import Activation, Classifier, ConvNorm, SqueezeExcite
from torch import Tensor, nn

__all__ = ["NETWORKS"]


class InvertedResidual(nn.Module):
    """1x1 wider, depthwise, perhaps squeeze and excitation, 1x1 narrower without activation (Sandler et al. 2018)."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        activation: Activation = nn.ReLU6,
        excite: Callable[[int], nn.Module] = lambda channels: nn.Identity(),
    ) -> None:
        super().__init__()
        self.adds = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Identity() if hidden == inputs else ConvNorm(inputs, hidden, activation=activation),
            ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden, activation=activation),
            excite(hidden),
            ConvNorm(hidden, outputs, activation=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet_v2() -> nn.Module:
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2, activation=nn.ReLU6),
        InvertedResidual(16, 16, 8),
        InvertedResidual(8, 48, 16, stride=2),
        InvertedResidual(16, 64, 16),
        InvertedResidual(16, 64, 24, stride=2),
        InvertedResidual(24, 96, 24),
        ConvNorm(24, 96, activation=nn.ReLU6),
        Classifier(96),
    )


def hard_excite(channels: int) -> nn.Module:
    return SqueezeExcite(channels, max(8, channels // 4), gate=nn.Hardsigmoid)


def mobilenet_v3() -> nn.Module:
    """Squeeze and excitation with a hard sigmoid, hard-swish in the later half (Howard et al. 2019)."""
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2, activation=nn.Hardswish),
        InvertedResidual(16, 16, 16, activation=nn.ReLU, excite=hard_excite),
        InvertedResidual(16, 48, 24, stride=2, activation=nn.ReLU),
        InvertedResidual(24, 64, 24, 5, activation=nn.Hardswish, excite=hard_excite),
        InvertedResidual(24, 64, 32, 5, stride=2, activation=nn.Hardswish, excite=hard_excite),
        InvertedResidual(32, 96, 32, activation=nn.Hardswish, excite=hard_excite),
        ConvNorm(32, 64, activation=nn.Hardswish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Sequential(nn.Linear(64, 48), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(48, 10)),
    )


def soft_excite(squeezed: int) -> Callable[[int], nn.Module]:
    return lambda channels: SqueezeExcite(channels, squeezed, activation=nn.SiLU)


def efficientnet() -> nn.Module:
    """SiLU everywhere, squeezed to a quarter of the block's input (Tan & Le 2019)."""
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2, activation=nn.SiLU),
        InvertedResidual(16, 16, 16, activation=nn.SiLU, excite=soft_excite(8)),
        InvertedResidual(16, 64, 24, stride=2, activation=nn.SiLU, excite=soft_excite(8)),
        InvertedResidual(24, 96, 24, activation=nn.SiLU, excite=soft_excite(8)),
        InvertedResidual(24, 96, 32, 5, stride=2, activation=nn.SiLU, excite=soft_excite(8)),
        InvertedResidual(32, 96, 32, 5, activation=nn.SiLU, excite=soft_excite(8)),
        ConvNorm(32, 96, activation=nn.SiLU),
        Classifier(96),
    )


class GhostModule(nn.Module):
    """Half of the channels by a 1x1 convolution, a cheap depthwise copy of them; cut to the number asked for."""

    def __init__(self, inputs: int, outputs: int, *, activation: Activation | None = nn.ReLU) -> None:
        super().__init__()
        half = -(-outputs // 2)
        self.outputs = outputs
        self.primary = ConvNorm(inputs, half, activation=activation)
        self.cheap = ConvNorm(half, half, 3, groups=half, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], 1)[:, : self.outputs]


class GhostBottleneck(nn.Module):
    """Han et al. 2020. Odd widths, so that the slice after the concatenation really cuts a channel."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, stride: int = 1, excites: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            GhostModule(inputs, hidden),
            ConvNorm(hidden, hidden, 3, stride=stride, groups=hidden, activation=None) if stride > 1 else nn.Identity(),
            hard_excite(hidden) if excites else nn.Identity(),
            GhostModule(hidden, outputs, activation=None),
        )
        plain = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if plain
            else nn.Sequential(
                ConvNorm(inputs, inputs, 3, stride=stride, groups=inputs, activation=None),
                ConvNorm(inputs, outputs, activation=None),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


def ghostnet() -> nn.Module:
    return nn.Sequential(
        ConvNorm(3, 16, 3, stride=2),
        GhostBottleneck(16, 32, 16),
        GhostBottleneck(16, 47, 24, stride=2),
        GhostBottleneck(24, 64, 24, excites=True),
        GhostBottleneck(24, 64, 31, stride=2, excites=True),
        ConvNorm(31, 64),
        Classifier(64),
    )


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3": mobilenet_v3,
    "efficientnet": efficientnet,
    "ghostnet": ghostnet,
}
