"""Results go to stdout, everything else to stderr. Where that is no terminal: no escape codes, a note is one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.text import Text

__all__ = ["log_console", "print_changes", "print_parts", "results_console"]

PIPED_WIDTH = 160  # rich takes 80 for a pipe and would cut columns


def results_console() -> Console:
    return _console(stderr=False)


def log_console() -> Console:
    return _console(stderr=True)


def print_parts(console: Console, parts: Iterable[RenderableType]) -> None:
    """Tables and the notes under them. A terminal's notes are wrapped; in a file each is one line that grep finds."""
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text) and not console.is_terminal)


def print_changes(console: Console) -> Callable[[str], None]:
    """What prints a line, but for one that says what the line before said: each model of a batch tells its stage."""
    before = ""

    def tell(line: str) -> None:
        nonlocal before
        if line != before:
            before = line
            console.print(Text(line))

    return tell


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    piped = not stream.isatty()
    return Console(
        stderr=stderr,
        width=PIPED_WIDTH if piped and "COLUMNS" not in os.environ else None,
        force_terminal=False if piped else None,  # else FORCE_COLOR would write codes to a file
        highlight=False,
        soft_wrap=stderr,
    )
