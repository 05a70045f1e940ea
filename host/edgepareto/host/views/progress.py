"""A running search on the screen: a live bar per device in a terminal, a plain line per generation elsewhere."""

from __future__ import annotations

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
        yield _PlainLines(console)


class _Warnings:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: DeviceProgress | StudyNotice) -> None:
        if isinstance(event, StudyNotice) and event.is_warning:
            _print_notice(self._console, event)


class _PlainLines:
    """One line whenever a device's generation or its final state changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, tuple[int, Activity | None]] = {}

    def __call__(self, event: DeviceProgress | StudyNotice) -> None:
        if isinstance(event, StudyNotice):
            _print_notice(self._console, event)
            return
        ended = event.activity if event.activity in (Activity.DONE, Activity.LOST, Activity.REMEASURING) else None
        state = (event.generation, ended)
        if event.measured and self._last.get(event.device) != state:
            self._last[event.device] = state
            self._console.print(escape(_plain(event)))


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
    return parts


def _print_notice(console: Console, notice: StudyNotice) -> None:
    console.print(f"[bold yellow]warning:[/] {escape(notice.text)}" if notice.is_warning else escape(notice.text))
