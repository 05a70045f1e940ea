"""Service time that passes only where somebody waits, so that ten minutes of patience take a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable


class VirtualTime:
    """`at` has something happen at a second of this time, in the thread that waits then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now_s = 0.0
        self._plans: list[tuple[float, Callable[[], None]]] = []

    def now_s(self) -> float:
        return self._now_s

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if event.is_set():
            return True
        with self._lock:
            self._now_s += seconds
            due = [plan for plan in self._plans if plan[0] <= self._now_s]
            self._plans = [plan for plan in self._plans if plan[0] > self._now_s]
        for _, happen in due:
            happen()
        return event.is_set()

    def at(self, second: float, happen: Callable[[], None]) -> None:
        with self._lock:
            self._plans.append((second, happen))
