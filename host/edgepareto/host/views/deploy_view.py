"""Boards being installed: a live line for each in a terminal, plain lines elsewhere; and what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edgepareto.host.domain.board_facts import Check
from edgepareto.host.domain.device import DeviceInfo, Meter
from edgepareto.host.views.console import log_console, print_parts
from edgepareto.host.views.preflight_view import preflight_table
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

__all__ = ["BoardProgress", "DeployDisplay", "deployed_lines", "show_deploy"]

MEGABYTE = 1_000_000
ALL_SENT = 0.999  # of a bar: a full one would stop the board's time, and there is more to do


class DeployDisplay:
    """Gives each board its place on the screen. Any thread; `paused` while a person is asked something."""

    def __init__(self, console: Console, bars: Progress | None) -> None:
        self._console = console
        self._bars = bars
        self._lock = threading.Lock()

    def board(self, name: str) -> BoardProgress:
        task = None if self._bars is None else self._bars.add_task("", name=name, total=1.0)
        return BoardProgress(name, self._console, self._bars, task, self._lock)

    @contextmanager
    def paused(self) -> Iterator[None]:
        if self._bars is None:
            yield
            return
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()


class BoardProgress:
    """Told by one board's installation how far it is."""

    def __init__(
        self, name: str, console: Console, bars: Progress | None, task: TaskID | None, lock: threading.Lock
    ) -> None:
        self._name = name
        self._console = console
        self._bars = bars
        self._task = task
        self._lock = lock
        self._began_s = time.monotonic()

    def step(self, text: str) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, description=text, completed=0.0)
        else:
            self._console.print(Text(f"{self._name}: {time.monotonic() - self._began_s:.0f} s: {text}"))

    def progress(self, done_bytes: int, all_bytes: int) -> None:
        if self._bars is not None and self._task is not None:
            sent = f"sending, {done_bytes / MEGABYTE:.0f} of {all_bytes / MEGABYTE:.0f} MB"
            self._bars.update(self._task, description=sent, completed=ALL_SENT * done_bytes / max(1, all_bytes))
        elif done_bytes == all_bytes:
            self._console.print(Text(f"{self._name}: {all_bytes / MEGABYTE:.1f} MB sent"))

    def checks(self, checks: Sequence[Check]) -> None:
        """What stands in the way is the error's to say."""
        table, *_ = preflight_table(self._name, checks)
        with self._lock:
            print_parts(self._console, [table])


@contextmanager
def show_deploy(*, quiet: bool = False, console: Console | None = None) -> Iterator[DeployDisplay]:
    console = console or log_console()
    if quiet:
        console = Console(quiet=True)
    if quiet or not console.is_terminal:
        yield DeployDisplay(console, None)
        return
    columns = (
        TextColumn("{task.fields[name]}", style="bold", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),  # a board's words
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield DeployDisplay(console, bars)


def deployed_lines(name: str, outcome: str, info: DeviceInfo | None, notes: Sequence[str]) -> Iterator[str]:
    """What became of one board, and what to do next."""
    if info is None:
        yield f"{name}: {outcome}"
    else:
        runtimes = ", ".join(f"{runtime.name} {runtime.version}" for runtime in info.runtimes) or "no runtime"
        yield f"{name}: {outcome}: {info.board}, agent {info.agent_version}, {runtimes}"
        yield f"{name}: power meter: {_meter(info.meter, name)}"
    for note in notes:
        yield f"{name}: note: {note}"


def _meter(meter: Meter | None, name: str) -> str:
    if meter is None:
        return "none, so energy is not measured"
    return f"{meter.kind}, self-test passed" if meter.fault is None else f"not usable: {_named(meter.fault, name)}"


def _named(words: str, name: str) -> str:
    """An agent does not know what its board is called here, and says NAME."""
    return words.replace("host deploy NAME", f"host deploy {name}")
