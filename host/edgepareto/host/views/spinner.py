"""What a prune does at the moment, and for how long already: shown where a person waits, gone when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgepareto.host.views.console import log_console
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["show_spinner"]


@contextmanager
def show_spinner(*, quiet: bool = False, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """What to call in words whenever something begins. Prints nothing with `quiet` or where stderr is no terminal."""
    console = console or log_console()
    if quiet or not console.is_terminal:
        yield lambda words: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as spinner:
        task = spinner.add_task("", total=None)
        yield lambda words: spinner.update(task, description=words)
