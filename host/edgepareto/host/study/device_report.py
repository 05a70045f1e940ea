"""What the screen is told of one device while it is searched on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgepareto.host.config import SearchConfig
from edgepareto.host.domain import Activity, DeviceName, DeviceProgress, Incident, StudyNotice
from edgepareto.host.study.batches import StudyClock
from edgepareto.host.study.pace import Pace

__all__ = ["DeviceReport", "Listener"]

Listener = Callable[[DeviceProgress | StudyNotice], None]


class DeviceReport:
    """`counted` after every batch, `now` in between. The listener may be called from the device's thread."""

    def __init__(
        self, name: DeviceName, config: SearchConfig, pace: Pace, clock: StudyClock, listener: Listener
    ) -> None:
        self._name = name
        self._config = config
        self._pace = pace
        self._clock = clock
        self._listener = listener
        self._counted: DeviceProgress | None = None

    def counted(self, progress: DeviceProgress, *, is_searching: bool) -> None:
        self._counted = progress
        self.now(progress.activity, progress.detail, is_searching=is_searching)

    def now(self, activity: Activity, detail: str, *, is_searching: bool) -> None:
        """What the device does; the rest as it was last counted."""
        if self._counted is not None:
            left_s = self._left_s(self._counted.measured) if is_searching else None
            now = replace(
                self._counted, activity=activity, detail=detail, utilisation=self._pace.utilisation, left_s=left_s
            )
            self._listener(now)

    def warn(self, text: str) -> None:
        self._listener(StudyNotice(text=text, is_warning=True))

    def incident(self, incident: Incident) -> None:
        """One that was healed is no warning: the end report lists it."""
        self._listener(StudyNotice(text=f"{self._name}: {incident.detail}, {incident.outcome}"))

    def _left_s(self, measured: int) -> float | None:
        """Until the first of the budgets ends the search. The end phase's length nobody knows."""
        generations = self._config.generations
        budgets = [self._config.measurements, None if generations is None else generations * self._config.generation]
        counts = [max(0, budget - measured) for budget in budgets if budget is not None]
        by_pace = self._pace.left_s(min(counts)) if counts else None
        found = [seconds for seconds in (by_pace, self._clock.left_s) if seconds is not None]
        return min(found, default=None)
