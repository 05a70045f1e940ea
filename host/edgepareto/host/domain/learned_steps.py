"""What a probe learned about a board's channel steps, and what a search cuts to because of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from edgepareto.host.domain.device import DeviceInfo, DeviceName
from edgepareto.host.domain.staircase import Staircase

__all__ = ["DEFAULT_STEP", "ChannelSteps", "KernelKind", "KindProbe", "LearnedSteps", "common_step"]

DEFAULT_STEP = 8  # where nothing was learned: what most kernels of docs/board-facts.md, section 4, pack


class KernelKind(str, Enum):
    """The layers whose kernels a probe times; every other layer is taken as the nearest of them."""

    CONV_3X3 = "conv_3x3"
    POINTWISE = "pointwise"
    DEPTHWISE = "depthwise"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindProbe:
    """One kind of kernel on one device. widths, latencies_s: channels and median latency of each job, as measured."""

    kind: KernelKind
    staircase: Staircase
    widths: tuple[int, ...]
    latencies_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedSteps:
    """A finished probe of one device. measured_at: ISO 8601, UTC."""

    device: DeviceName
    board: str
    board_id: str
    simulated: bool
    runtime: str
    runtime_version: str
    threads: int
    preset: str
    measured_at: str
    probes: tuple[KindProbe, ...]

    @property
    def sure(self) -> Mapping[KernelKind, int]:
        """The steps that a search may rely on."""
        return {probe.kind: probe.staircase.step for probe in self.probes if probe.staircase.is_sure}

    def mismatch(self, info: DeviceInfo, *, runtime: str, threads: int) -> str | None:
        """Why these are not the steps of this device as it is used now; None: they are."""
        for what, learned, now in (
            ("board", self.board_id, info.board_id),
            ("runtime", self.runtime, runtime),
            ("threads", self.threads, threads),
        ):
            if learned != now:
                return f"{what} {learned} then, {now} now"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSteps:
    """What the widths of a search on one device are multiples of, fixed when the study began on it.

    by_group: in the order of the model's groups. learned: the steps by kind behind it; empty: none were learned, or the
    settings name one.
    """

    by_group: tuple[int, ...]
    learned: tuple[tuple[KernelKind, int], ...] = ()


def common_step(steps: Iterable[int]) -> int:
    """The step of a group whose layers have these: the least common multiple, so that no layer of it pads.

    Of the powers of two that a probe can find it is the largest.
    """
    return math.lcm(*steps)
