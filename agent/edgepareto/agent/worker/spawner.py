"""How the agent starts a process of its own: by plain exec. Where systemd starts the workers, see service.

A child is exec'd, never only forked: a fork of a gRPC process inherits locks that nobody will release.
Waiting is on service time, the real monotonic clock, also on a simulated board.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, Protocol

from edgepareto.agent.worker.child import Child, ChildGone, LineReader, last_words, oom_kills, ran_out_of_memory

__all__ = ["ExecChild", "Spawn", "spawn"]

EXIT_GRACE_S = 1.0  # the pipe of a dying process closes before its exit status can be had


class Spawn(Protocol):
    """Starts the process with this argv. What fails at once may also be told by the first `send` or `receive`."""

    def __call__(self, argv: Sequence[str]) -> Child: ...


class ExecChild:
    """See Child. A process in a group of its own; one that leaves the group by itself outlives it."""

    def __init__(self, process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._stderr = stderr
        self._lines = LineReader(self._stdout.fileno())
        self._oom_kills_before = oom_kills()

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._process.pid

    @property
    def ended_ticks(self) -> int:
        return 0

    def send(self, line: str) -> None:
        try:
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()
        except OSError as error:
            raise self._gone() from error

    def receive(self, timeout_s: float, cancelled: Callable[[], bool]) -> str:
        line = self._lines.line(timeout_s, cancelled)
        if line is None:
            raise self._gone()
        return line

    def kill(self) -> None:
        """Also reaps it."""
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
        by_oom_killer = killed and siginfo.si_status == signal.SIGKILL and oom_kills() > self._oom_kills_before
        words = last_words(self._stderr.fileno())
        return ChildGone(
            f"it {how}{': ' + words if words else ''}", out_of_memory=by_oom_killer or ran_out_of_memory(words)
        )


def spawn(argv: Sequence[str]) -> ExecChild:
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
    return ExecChild(process, stderr)


def _wait_for_exit(pid: int) -> os.waitid_result | None:
    """How `pid` ended, without reaping it, so that its group can still be killed safely."""
    until = time.monotonic() + EXIT_GRACE_S
    while True:
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if result is not None or time.monotonic() > until:
            return result
        time.sleep(0.005)
