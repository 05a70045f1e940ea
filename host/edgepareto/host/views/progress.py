"""A running search on the screen: a live bar per device in a terminal, a plain line per generation elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from edgepareto.host.domain.progress import Activity, DeviceProgress, StudyNotice
from edgepareto.host.views.console import log_console
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

__all__ = ["Listener", "show_progress"]

MINUTE_S = 60
HOUR_S = 3600
STATES = (Activity.REMEASURING, Activity.AWAY, Activity.DONE, Activity.LOST)  # a line for each
SLOW_S = 60.0  # in one step of a measurement; most take seconds
LOOK_EVERY_S = 5.0

Listener = Callable[[DeviceProgress | StudyNotice], None]


@contextmanager
def show_progress(*, quiet: bool = False, console: Console | None = None) -> Iterator[Listener]:
    """What to give a search as its listener. `quiet` leaves the warnings only. Called from one thread at a time."""
    console = console or log_console()
    if quiet:
        yield _Warnings(console)
    elif console.is_terminal:
        with _live(console) as bars:
            yield _LiveBars(bars)
    else:
        with _looked_at(_PlainLines(console)) as lines:
            yield lines


class _Warnings:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: DeviceProgress | StudyNotice) -> None:
        if isinstance(event, StudyNotice) and event.is_warning:
            _print_notice(self._console, event)


class _PlainLines:
    """One line whenever a device's generation or its final state changes, and where it is long in one step: then after
    SLOW_S, and after twice as long again and again. Any thread may call.
    """

    def __init__(self, console: Console, now_s: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now_s = now_s
        self._last: dict[str, tuple[int, Activity | None]] = {}
        self._steps: dict[str, _Step] = {}
        self._lock = threading.Lock()

    def __call__(self, event: DeviceProgress | StudyNotice) -> None:
        with self._lock:
            self._tell(event)

    def look(self) -> None:
        """Tell what takes long; called now and then."""
        with self._lock:
            for device, step in self._steps.items():
                spent_s = self._now_s() - step.since_s
                if spent_s >= step.told_after_s:
                    step.told_after_s = 2 * spent_s
                    self._console.print(escape(f"{device}: {step.doing} since {_duration(spent_s)}"))

    def _tell(self, event: DeviceProgress | StudyNotice) -> None:
        if isinstance(event, StudyNotice):
            _print_notice(self._console, event)
            return
        self._note_step(event)
        ended = event.activity if event.activity in STATES else None
        state = (event.generation, ended)
        if event.measured and self._last.get(event.device) != state:
            self._last[event.device] = state
            self._console.print(escape(_plain(event)))

    def _note_step(self, event: DeviceProgress) -> None:
        doing = _doing(event) if event.activity is not Activity.AWAY else "looked for"  # whose detail counts seconds
        if event.activity not in (Activity.MEASURING, Activity.REMEASURING, Activity.AWAY):
            self._steps.pop(event.device, None)
        elif event.device not in self._steps or self._steps[event.device].doing != doing:
            self._steps[event.device] = _Step(doing, self._now_s())


class _Step:
    def __init__(self, doing: str, since_s: float) -> None:
        self.doing = doing
        self.since_s = since_s
        self.told_after_s = SLOW_S


@contextmanager
def _looked_at(lines: _PlainLines) -> Iterator[_PlainLines]:
    """With a thread that looks, since nothing comes from a board that hangs."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_EVERY_S):
            lines.look()

    thread = threading.Thread(target=look, name="slow steps", daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        ended.set()
        thread.join()


class _LiveBars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: DeviceProgress | StudyNotice) -> None:
        if isinstance(event, StudyNotice):
            _print_notice(self._bars.console, event)
            return
        if event.device not in self._tasks:
            self._tasks[event.device] = self._bars.add_task(event.device, total=event.budget, state="")
        self._bars.update(
            self._tasks[event.device], completed=event.measured, total=event.budget, state=escape(_state(event))
        )


class _Elapsed(ProgressColumn):
    """Goes on when the budget is spent, unlike rich's own: the end phase takes its time too."""

    def render(self, task: Task) -> Text:
        return Text(str(timedelta(seconds=int(task.elapsed or 0))), style="progress.elapsed")


def _live(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        _Elapsed(),
        console=console,
    )


def _plain(event: DeviceProgress) -> str:
    budget = "" if event.budget is None else f"/{event.budget}"
    measured = f"{event.device}: generation {event.generation}, measured {event.measured}{budget}"
    return ", ".join([measured, *_found(event), *_time(event), _doing(event)])


def _state(event: DeviceProgress) -> str:
    """What changes most comes first: a narrow terminal cuts off the end."""
    return ", ".join([_doing(event), *_time(event), f"generation {event.generation}", *_found(event)])


def _doing(event: DeviceProgress) -> str:
    return f"{event.activity.value} {event.detail}".rstrip()


def _time(event: DeviceProgress) -> list[str]:
    busy = [] if event.utilisation is None else [f"{100 * event.utilisation:.0f} % busy"]
    return busy if event.left_s is None else [*busy, f"~{_duration(event.left_s)} left"]


def _duration(seconds: float) -> str:
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR_S:
        return f"{seconds / MINUTE_S:.0f} min"
    return f"{seconds / HOUR_S:.1f} h"


def _found(event: DeviceProgress) -> list[str]:
    parts = [f"front {event.front}"]
    if event.hypervolume is not None:
        parts.append(f"hypervolume {event.hypervolume:.4f}")
    if event.failed:
        parts.append(f"{event.failed} failed")
    if event.spared:
        parts.append(f"{event.spared} spared")
    if event.foreseen is not None:
        parts.append(_foreseen(event.foreseen))
    return parts


def _foreseen(shares: tuple[float, ...]) -> str:
    if sum(shares) < 0:
        return "the models foresee nothing, NSGA-II asks"
    told = (f"{name} {100 * share:.0f} %" for name, share in zip(("error", "latency", "energy"), shares, strict=False))
    return f"foresees {', '.join(told)}"


def _print_notice(console: Console, notice: StudyNotice) -> None:
    console.print(f"[bold yellow]warning:[/] {escape(notice.text)}" if notice.is_warning else escape(notice.text))
