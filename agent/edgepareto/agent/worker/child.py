"""What the agent sees of a process that it had started: lines to it, lines from it, and how it ended."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable
from typing import Protocol

from edgepareto.agent.errors import AgentError

__all__ = [
    "Cancelled",
    "Child",
    "ChildGone",
    "ChildSilent",
    "LineReader",
    "last_words",
    "oom_kills",
    "ran_out_of_memory",
    "reports_a_crash",
]

LOOK_AGAIN_S = 0.2  # how often a wait looks whether it was called off
LONGEST_LINE = 64 << 20  # bytes; a child that never ends its line must not fill the agent's memory
LAST_WORDS = 400  # characters of stderr that go into an error message
_END_OF_STDERR = 8192  # bytes that are looked at for them
_FATAL = "Fatal Python error: "  # faulthandler


class Cancelled(AgentError):
    """The batch was called off while its child was working."""


class ChildGone(AgentError):
    """It ended, could not be started, or broke the protocol. `out_of_memory`: for want of memory."""

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class ChildSilent(AgentError):
    """It did not answer in time. It is still running."""


class Child(Protocol):
    """A process that answers lines on its stdin with lines on its stdout. One user at a time.

    ended_ticks: CPU time that it had used when it was last seen, once it has ended, in clock ticks; 0 before that, and
    where the agent's own times count it (times(2), children).
    """

    @property
    def pid(self) -> int | None:
        """None: it has not told yet; known with its first line."""

    @property
    def ended_ticks(self) -> int: ...

    def send(self, line: str) -> None:
        """Raises ChildGone."""

    def receive(self, timeout_s: float, cancelled: Callable[[], bool]) -> str:
        """The next line. Raises ChildGone, ChildSilent after `timeout_s`, Cancelled as soon as `cancelled` says so."""

    def kill(self) -> None:
        """End it now, with every process that it started. Once is enough, twice does no harm."""


class LineReader:
    """Lines from a pipe or socket whose other end is believed nothing."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._received = bytearray()

    def line(self, timeout_s: float, cancelled: Callable[[], bool]) -> str | None:
        """The next one; None: the other end is closed. Raises as Child.receive does."""
        until = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while (end := self._received.find(b"\n")) < 0:
            if cancelled():
                raise Cancelled("the batch was called off")
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise ChildSilent(f"no answer within {timeout_s:.0f} s")
            if not poll.poll(min(left_s, LOOK_AGAIN_S) * 1000):
                continue
            data = _read(self._fd)
            if not data:
                return None
            self._received += data
            if len(self._received) > LONGEST_LINE:
                raise ChildGone(f"it sent a line of more than {LONGEST_LINE} bytes")
        line = self._received[:end].decode(errors="replace")
        del self._received[: end + 1]
        return line


def last_words(stderr: int) -> str:
    """The end of what it wrote there, in one line; of a crash that Python reports itself, the report's beginning."""
    end = os.fstat(stderr).st_size
    text = os.pread(stderr, _END_OF_STDERR, max(0, end - _END_OF_STDERR)).decode(errors="replace")
    fatal = text.rfind(_FATAL)  # a list of threads and modules follows
    words = " ".join((text if fatal < 0 else text[fatal:]).split())
    return words[-LAST_WORDS:] if fatal < 0 else words[:LAST_WORDS]


def reports_a_crash(words: str) -> bool:
    """Whether these last words are Python's own about its end, or the C++ library's."""
    return re.search(rf"{_FATAL}|\b\w+Error: |terminate called", words) is not None


def ran_out_of_memory(words: str) -> bool:
    """Whether a process ended because an allocation failed, by its last words: Python's or the C++ library's."""
    return re.search(r"\bMemoryError\b|\bbad_alloc\b", words) is not None


def oom_kills() -> int:
    """Processes that the kernel has killed for memory since boot, in cgroups too (/proc/vmstat, since Linux 4.13)."""
    try:
        with open("/proc/vmstat") as file:  # noqa: PTH123
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except ConnectionResetError:  # a socket whose other end died with unread data
        return b""
