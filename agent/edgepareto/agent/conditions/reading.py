"""One value from a file of the kernel, or from a board maker's small program; None where it cannot be had."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["LONGEST_ANSWER_S", "answer", "natural", "number", "text"]

LONGEST_ANSWER_S = 4.0  # a host waits 5 s for its lease, and nvpmodel may run while it waits


def text(path: Path) -> str | None:
    """Stripped, also of the NUL that ends a device tree's string. A sensor that is off answers with an error."""
    try:
        return path.read_text(errors="replace").strip("\0 \t\r\n") or None
    except OSError:
        return None


def number(path: Path) -> int | None:
    """A decimal integer."""
    try:
        return int(text(path) or "")
    except ValueError:
        return None


def natural(path: Path) -> int | None:
    """A decimal integer that is not negative: a frequency, a level. The wire takes no other."""
    value = number(path)
    return None if value is None or value < 0 else value


def answer(program: Path, *arguments: str) -> str | None:
    """What it prints. None: it is not there, not for us, too slow, or says by its exit code that it failed.

    Started by vfork and exec, so gRPC's locks are not inherited; its CPU time counts as the agent's own.
    """
    if not program.exists():
        return None
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,  # nvpmodel asks before a mode that needs a reboot: it reads an end and does not
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST_ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
