"""Time as an interface: what measures, sleeps through it; what serves, never does."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

__all__ = ["Clock", "SystemClock", "open_clock"]


class Clock(Protocol):
    """Measurement time. Service time (leases, watchdogs, deadlines) is always the real monotonic clock, never this."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds, one origin for every process of the board."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let that much measurement time pass with the board idle."""
        ...

    def start_batch(self) -> None:
        """A batch begins. Simulated time starts again at 0, so that no result depends on what was measured before."""
        ...


class SystemClock:
    """CLOCK_MONOTONIC_RAW: no slewing by NTP (clock_gettime(2))."""

    def now_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def start_batch(self) -> None:
        pass


def open_clock(board: Path | None) -> Clock:
    """The machine's clock or, given a simulated board's folder, that board's. Every process opens its own."""
    if board is None:
        return SystemClock()
    simulated = importlib.import_module("edgepareto.agent.simulation.clock").SimulatedClock
    return cast("Callable[[Path], Clock]", simulated)(board)
