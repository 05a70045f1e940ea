"""HRNet: resolutions side by side that are added to each other again and again (Sun et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from models.torch_definitions.layers import ConvNorm
from models.torch_definitions.residual import basic
from torch import Tensor, nn

__all__ = ["NETWORKS"]


def path(inputs: int, outputs: int, source: int, target: int) -> nn.Module:
    """From one resolution to another; a level down is half the resolution."""
    if source == target:
        return nn.Identity()
    if source > target:
        up = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(ConvNorm(inputs, outputs, activation=None), up)
    steps = target - source
    return nn.Sequential(
        *(ConvNorm(inputs, inputs, 3, stride=2) for _ in range(steps - 1)),
        ConvNorm(inputs, outputs, 3, stride=2, activation=None),
    )


class Fuse(nn.Module):
    """Every resolution becomes the sum of all of them."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(path(inputs, outputs, source, target) for source, inputs in enumerate(widths))
            for target, outputs in enumerate(widths)
        )

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        fused = []
        for paths in self.paths:
            total = paths[0](levels[0])
            for each, level in zip(list(paths)[1:], levels[1:], strict=True):
                total = total + each(level)
            fused.append(torch.relu(total))
        return fused


class Stage(nn.Module):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(basic(width, width) for width in widths)
        self.fuse = Fuse(widths)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        return self.fuse([block(level) for block, level in zip(self.blocks, levels, strict=True)])


class HRNet(nn.Module):
    """Two resolutions, then three; the head reads all of them at the highest."""

    def __init__(self, widths: tuple[int, int, int] = (8, 16, 24), classes: int = 5) -> None:
        super().__init__()
        self.stem = ConvNorm(3, widths[0], 3, stride=2)
        self.down_1 = ConvNorm(widths[0], widths[1], 3, stride=2)
        self.stage_2 = Stage(widths[:2])
        self.down_2 = ConvNorm(widths[1], widths[2], 3, stride=2)
        self.stage_3 = Stage(widths)
        self.head = nn.Sequential(ConvNorm(sum(widths), 32), nn.Conv2d(32, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        first = self.stem(image)
        two = self.stage_2([first, self.down_1(first)])
        high, middle, low = self.stage_3([*two, self.down_2(two[1])])
        size = high.shape[2:]
        raised = [nn.functional.interpolate(level, size=size, mode="bilinear") for level in (middle, low)]
        return self.head(torch.cat([high, *raised], 1))


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {"hrnet": HRNet}
