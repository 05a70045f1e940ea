"""Results go to stdout, everything else to stderr. Neither has colour where it is no terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

__all__ = ["log_console", "print_changes", "results_console"]

PIPED_WIDTH = 160  # rich takes 80 for a pipe and would cut columns


def results_console() -> Console:
    return _console(stderr=False)


def log_console() -> Console:
    return _console(stderr=True)


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
    piped = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=stderr, width=PIPED_WIDTH if piped else None, highlight=False, soft_wrap=stderr)
