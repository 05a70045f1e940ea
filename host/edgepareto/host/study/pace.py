"""How busy a device is kept, and how long it still takes: from the real clock, so at pace 0 it says little."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]


class Pace:
    """One device's time in this run. What a replay answers takes none and says nothing of the pace."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._began_s = now_s()
        self._measuring_since_s: float | None = None
        self._measuring_s = 0.0
        self._measured = 0
        self._last_end_s = self._began_s

    def measuring_begins(self) -> None:
        self._measuring_since_s = self._now_s()

    def measuring_ends(self, measured: int) -> None:
        """measured: how many candidates of the budget came of it; 0 for a batch that is lost, void or a repeat."""
        assert self._measuring_since_s is not None
        self._last_end_s = self._now_s()
        self._measuring_s += self._last_end_s - self._measuring_since_s
        self._measuring_since_s = None
        self._measured += measured

    @property
    def utilisation(self) -> float | None:
        """Share of the time since the search began in which the board was measuring, 0..1; None before it ever was."""
        now_s = self._now_s()
        since_s = now_s if self._measuring_since_s is None else self._measuring_since_s
        busy_s = self._measuring_s + now_s - since_s
        return busy_s / (now_s - self._began_s) if busy_s > 0 else None

    def left_s(self, measurements: int) -> float | None:
        """Until so many more are measured, at the pace so far; None before any was."""
        if not self._measured:
            return None
        each_s = (self._last_end_s - self._began_s) / self._measured
        return max(0.0, measurements * each_s - (self._now_s() - self._last_end_s))
