"""What a running search tells the screen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgepareto.host.domain.device import DeviceName

__all__ = ["Activity", "DeviceProgress", "StudyNotice"]


class Activity(str, Enum):
    PREPARING = "preparing"
    MEASURING = "measuring"
    REMEASURING = "re-measuring"
    WAITING = "waiting"
    AWAY = "away:"  # it does not answer and is looked for
    DONE = "done"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProgress:
    """State of one device. budget: measurements it will take at most, None where another budget ends the search.

    detail: the agent's own stage, such as `latency 3/5`. utilisation: share of the time since the search began in which
    the board was measuring, 0..1. foreseen: of error, latency and energy, how much of what the last batches found a
    search that learns had foreseen, 1 is all, below 0 worse than a mean. spared: candidates that were scored and not
    measured, as they cannot enter the front. left_s: until the search's budget is spent, at the pace so far. None: not
    known.
    """

    device: DeviceName
    activity: Activity
    generation: int
    measured: int
    failed: int
    budget: int | None
    front: int
    hypervolume: float | None
    detail: str = ""
    foreseen: tuple[float, ...] | None = None
    spared: int = 0
    utilisation: float | None = None
    left_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyNotice:
    """One line that the user must see: no meter, a lost board, a budget that ended."""

    text: str
    is_warning: bool = False
