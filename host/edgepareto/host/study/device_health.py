"""What befalls one device in one run, and when that is too much: then only a person can help it.

Counted from what this run saw; what a replay answers from the store befell no one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from edgepareto.host.domain import DeviceName, Incident, Job
from edgepareto.host.study.verdict import why_void

__all__ = ["BATCHES_IN_TROUBLE", "INCIDENTS_AN_HOUR", "VOIDS_IN_A_ROW", "DeviceHealth"]

VOIDS_IN_A_ROW = 3  # of one batch
BATCHES_IN_TROUBLE = 5  # in a row, each with an incident
INCIDENTS_AN_HOUR = 10  # more are too many
HOUR_S = 3600.0
LAST_WORDS = 3  # incidents told in the reason


class DeviceHealth:
    """`batch_ended` after every batch that was measured, `incident` in between; each says why the device is given up.

    keep: stores an incident. now_s: of a clock that never jumps.
    """

    def __init__(
        self, name: DeviceName, keep: Callable[[Incident], None], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._keep = keep
        self._now_s = now_s
        self._incidents: list[Incident] = []
        self._last_hour_s: deque[float] = deque()
        self._in_batch = 0
        self._batches_in_trouble = 0
        self._voids = 0

    def incident(self, incident: Incident) -> None:
        self._keep(incident)
        self._incidents.append(incident)
        self._last_hour_s.append(self._now_s())
        self._in_batch += 1

    def batch_ended(self, fault: Job | None) -> str | None:
        """Of a batch measured now. fault: the job that says why it is void. None: go on with the device."""
        self._batches_in_trouble = self._batches_in_trouble + 1 if self._in_batch else 0
        self._in_batch = 0
        self._voids = 0 if fault is None else self._voids + 1
        while self._last_hour_s and self._last_hour_s[0] < self._now_s() - HOUR_S:
            self._last_hour_s.popleft()
        if fault is not None and self._voids == VOIDS_IN_A_ROW:
            return f"{self._name}: {self._voids} batches in a row are void: {why_void(fault, advised=True)}"
        if self._batches_in_trouble == BATCHES_IN_TROUBLE:
            return self._quarantined(f"{self._batches_in_trouble} batches in a row were in trouble")
        if len(self._last_hour_s) > INCIDENTS_AN_HOUR:
            return self._quarantined(f"{len(self._last_hour_s)} of them within an hour")
        return None

    def _quarantined(self, why: str) -> str:
        last = [f"{incident.detail}, {incident.outcome}" for incident in self._incidents[-LAST_WORDS:]]
        told = "; ".join(dict.fromkeys(last))
        before = "the last: " if len(self._incidents) > LAST_WORDS else ""
        count = len(self._incidents)
        return f"{self._name}: quarantined after {count} incidents, {why}: {before}{told}; see to the board"
