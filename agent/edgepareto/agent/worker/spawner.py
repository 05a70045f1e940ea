"""How the agent starts a process of its own and talks to it: the seam behind which plain exec can become systemd.

A child is exec'd, never only forked: a fork of a gRPC process inherits locks that nobody will release.
Waiting is on service time, the real monotonic clock, also on a simulated board.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, Protocol

from edgepareto.agent.errors import AgentError

__all__ = ["Cancelled", "Child", "ChildGone", "ChildSilent", "Spawn", "spawn"]

LOOK_AGAIN_S = 0.2  # how often a wait looks whether it was called off
LONGEST_LINE = 64 << 20  # bytes; a child that never ends its line must not fill the agent's memory
LAST_WORDS = 400  # characters of stderr that go into an error message
EXIT_GRACE_S = 1.0  # the pipe of a dying process closes before its exit status can be had


class Cancelled(AgentError):
    """The batch was called off while its child was working."""


class ChildGone(AgentError):
    """It ended, or broke the protocol. `out_of_memory`: the kernel's OOM killer ended it."""

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class ChildSilent(AgentError):
    """It did not answer in time. It is still running."""


class Child:
    """A process in a group of its own that answers lines on its stdin with lines on its stdout. One user at a time."""

    def __init__(self, process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._stderr = stderr
        self._received = bytearray()
        self._oom_kills_before = _oom_kills()

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._process.pid

    def send(self, line: str) -> None:
        """Raises ChildGone."""
        try:
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()
        except OSError as error:
            raise self._gone() from error

    def receive(self, timeout_s: float, cancelled: Callable[[], bool]) -> str:
        """The next line. Raises ChildGone, ChildSilent after `timeout_s`, Cancelled as soon as `cancelled` says so."""
        until = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._stdout, select.POLLIN)
        while (end := self._received.find(b"\n")) < 0:
            if cancelled():
                raise Cancelled("the batch was called off")
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise ChildSilent(f"no answer within {timeout_s:.0f} s")
            if not poll.poll(min(left_s, LOOK_AGAIN_S) * 1000):
                continue
            data = os.read(self._stdout.fileno(), 1 << 16)
            if not data:
                raise self._gone()
            self._received += data
            if len(self._received) > LONGEST_LINE:
                raise ChildGone(f"it sent a line of more than {LONGEST_LINE} bytes")
        line = self._received[:end].decode(errors="replace")
        del self._received[: end + 1]
        return line

    def kill(self) -> None:
        """End the whole group now and reap the child. Once is enough, twice does no harm."""
        if self._stdout.closed:
            return
        # The group outlives its leader where the leader had children, so it is killed also when the child is gone;
        # the child is not yet reaped, so no other group can have taken its number.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._stdout.close()
        self._stderr.close()

    def _gone(self) -> ChildGone:
        siginfo = _wait_for_exit(self.pid)
        if siginfo is None:
            return ChildGone("it closed its pipe")
        killed = siginfo.si_code != os.CLD_EXITED
        how = f"was ended by {signal.Signals(siginfo.si_status).name}" if killed else f"exited {siginfo.si_status}"
        by_oom_killer = killed and siginfo.si_status == signal.SIGKILL and _oom_kills() > self._oom_kills_before
        words = self._last_words()
        return ChildGone(f"it {how}{': ' + words if words else ''}", out_of_memory=by_oom_killer)

    def _last_words(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - LAST_WORDS))
        return " ".join(self._stderr.read().decode(errors="replace").split())


class Spawn(Protocol):
    def __call__(self, argv: Sequence[str]) -> Child: ...


def spawn(argv: Sequence[str]) -> Child:
    """Exec `argv` in a session of its own, away from any terminal, with one-threaded BLAS.

    A child that asks to die with its parent (PR_SET_PDEATHSIG) dies with the calling *thread*: keep that one alive.
    """
    stderr = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the child; a pipe would have to be drained
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd="/",
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    return Child(process, stderr)


def _wait_for_exit(pid: int) -> os.waitid_result | None:
    """How `pid` ended, without reaping it, so that its group can still be killed safely."""
    until = time.monotonic() + EXIT_GRACE_S
    while True:
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if result is not None or time.monotonic() > until:
            return result
        time.sleep(0.005)


def _oom_kills() -> int:
    """Processes that the kernel has killed for memory since boot, in cgroups too (/proc/vmstat, since Linux 4.13)."""
    try:
        with open("/proc/vmstat") as file:  # noqa: PTH123
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0
