"""How long the host waits for a board that is gone, and how it looks for it: service time, which a test may make up.

docs/faults.md states every deadline. Small on purpose: the retry libraries read the real clock themselves.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Protocol

__all__ = ["PATIENCE_S", "SYSTEM_TIME", "ServiceTime", "pauses"]

PATIENCE_S = 600.0  # a board that did not answer for so long is lost; a reboot with a disk check takes a few minutes
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0  # so that a board that is back is found soon


class ServiceTime(Protocol):
    """Time in which a host waits for boards; measurement time is the agent's own affair."""

    def now_s(self) -> float:
        """Monotonic."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Until the event is set (True) or so many seconds are over (False)."""
        ...


class _SystemTime:
    def now_s(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


SYSTEM_TIME: ServiceTime = _SystemTime()


def pauses(jitter: random.Random | None = None) -> Iterator[float]:
    """Seconds between two looks, without end: doubled up to LONGEST_PAUSE_S, each shortened by up to a half at random.

    The jitter keeps the hosts of a room from asking a board that came back all at once.
    """
    jitter = jitter or random.Random()
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s * jitter.uniform(0.5, 1)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
