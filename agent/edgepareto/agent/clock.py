"""Time as an interface: what measures, sleeps through it; what serves, never does."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


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
