"""Workers that the system's service manager starts: one connection to its socket is one worker.

systemd accepts on edgepareto-worker.socket (Accept=yes) and starts edgepareto-worker@.service with the connection as
stdin and stdout (see admission), in a control group, a network and a view of the disk of its own: isolation that an
agent without privileges could not give its own child. systemd also ends what is left of the control group.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from edgepareto.agent.worker.admission import WORKER_MODULE
from edgepareto.agent.worker.child import (
    ChildGone,
    LineReader,
    last_words,
    oom_kills,
    ran_out_of_memory,
    reports_a_crash,
)
from edgepareto.agent.worker.json_fields import JsonFields, MalformedMessage

__all__ = ["ServedChild", "ServiceSpawn"]

ANSWER_S = 10.0  # of the service manager, which only takes the connection
END_GRACE_S = 1.0  # between the end of a process's connection and its own


class ServiceSpawn:
    """See Spawn; of workers alone, by the unix socket at `path`. Raises ChildGone where nobody answers there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, argv: Sequence[str]) -> ServedChild:
        assert list(argv[1:3]) == ["-m", WORKER_MODULE], f"{argv} is no worker"
        request = json.dumps({"argv": list(argv[3:])}).encode() + b"\n"
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the child
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(ANSWER_S)  # a listener that hangs must not hang the batch
            connection.connect(os.fspath(self._path))
            socket.send_fds(connection, [request], [stderr.fileno()])
            connection.settimeout(None)
        except OSError as error:
            connection.close()
            stderr.close()
            raise ChildGone(
                f"no worker can be started by {self._path}: {error.strerror or error}; on the board, systemctl status "
                "edgepareto-worker.socket says why"
            ) from error
        return ServedChild(connection, stderr)


class ServedChild:
    """See Child. Nobody but systemd can tell its exit status: its last words and the kernel's counters must do."""

    def __init__(self, connection: socket.socket, stderr: IO[bytes]) -> None:
        self._connection = connection
        self._stderr = stderr
        self._lines = LineReader(connection.fileno())
        self._process: _Process | None = None
        self._oom_kills_before = oom_kills()
        self._killed = False

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def ended_ticks(self) -> int:
        return self._process.ticks if self._process is not None and self._killed else 0

    def send(self, line: str) -> None:
        try:
            self._connection.sendall(line.encode() + b"\n")
        except OSError as error:
            raise self._gone() from error

    def receive(self, timeout_s: float, cancelled: Callable[[], bool]) -> str:
        until = time.monotonic() + timeout_s
        if self._process is None:
            self._process = _greeted(self._line(timeout_s, cancelled))
        line = self._line(max(0.0, until - time.monotonic()), cancelled)
        self._process.look()
        return line

    def kill(self) -> None:
        """One that has not told its process id yet has loaded nothing and ends at the end of its connection."""
        if self._killed:
            return
        if self._process is not None:
            self._process.look()
            self._process.kill()
            self._process.wait(END_GRACE_S)
            self._process.close()
        self._killed = True
        self._connection.close()
        self._stderr.close()

    def _line(self, timeout_s: float, cancelled: Callable[[], bool]) -> str:
        line = self._lines.line(timeout_s, cancelled)
        if line is None:
            raise self._gone()
        return line

    def _gone(self) -> ChildGone:
        words = last_words(self._stderr.fileno())
        said = f": {words}" if words else ""
        if self._process is None:
            journal = "journalctl -u 'edgepareto-worker@*' on the board says why"
            return ChildGone(f"it ended before it had started{said or '; ' + journal}")
        if not self._process.wait(END_GRACE_S):
            return ChildGone("it closed its connection")
        if not reports_a_crash(words) and oom_kills() > self._oom_kills_before:
            return ChildGone("the kernel ended it for want of memory", out_of_memory=True)  # other words are older
        return ChildGone(f"it ended{said or ' without a word'}", out_of_memory=ran_out_of_memory(words))


class _Process:
    """Another's child, by a descriptor (pidfd_open(2)): its number may be taken anew as soon as it has ended.

    Raises PermissionError where it is another user's.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ticks = 0
        self._fd = _descriptor(pid)

    def look(self) -> None:
        """Remember what it has used, for nobody counts it when it has ended."""
        with contextlib.suppress(OSError):
            used = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:15]  # proc_pid_stat(5)
            self.ticks = max(self.ticks, sum(map(int, used)))

    def kill(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within that time."""
        if self._fd is None:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)


def _descriptor(pid: int) -> int | None:
    """None: it has ended already. Raises PermissionError."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        pass  # it is waiting to be reaped, and can be waited for
    except PermissionError:
        os.close(descriptor)
        raise
    return descriptor


def _greeted(line: str) -> _Process:
    """The process that its first line names. It has seen no model yet, so it is believed, but must be ours to end."""
    try:
        pid = JsonFields.parse(line).integer("pid")
    except MalformedMessage as error:
        raise ChildGone(f"its first line is not its process id: {error}") from error
    try:
        return _Process(pid)
    except PermissionError as error:
        raise ChildGone(
            f"its process {pid} is another user's; edgepareto-worker@.service and the agent need the same User="
        ) from error
    except (OSError, OverflowError) as error:
        raise ChildGone(f"its process {pid} cannot be found: {error}") from error
