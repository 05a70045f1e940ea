"""Plays systemd's part for edgepareto-worker.socket (Accept=yes) and edgepareto-worker@.service: real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["serving_workers", "worker_service_command"]


def worker_service_command(store: Path) -> list[str]:
    """ExecStart of edgepareto-worker@.service."""
    return [sys.executable, "-I", "-m", "edgepareto.agent.worker.served", "--store", str(store)]


@contextmanager
def serving_workers(path: Path, command: Sequence[str], *, journal: Path | None = None) -> Iterator[None]:
    """While it lasts, every connection to the unix socket `path` starts `command` with it as stdin and stdout.

    As with KillMode=control-group, no process of a group outlives its first. journal: takes stderr. Ends them all.
    """
    groups: list[int] = []
    log = Path(os.devnull if journal is None else journal).open("ab")  # noqa: SIM115
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen()
    threads: list[threading.Thread] = []

    def run(connection: socket.socket) -> None:
        with connection:
            child = subprocess.Popen(
                command,
                stdin=connection,
                stdout=connection,
                stderr=log,
                cwd="/",
                env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
            groups.append(child.pid)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        groups.remove(child.pid)

    def accept() -> None:
        with contextlib.suppress(OSError):  # the listener is shut
            while True:
                thread = threading.Thread(target=run, args=(listener.accept()[0],))
                thread.start()
                threads.append(thread)

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()
        for group in tuple(groups):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for thread in threads:
            thread.join()
        path.unlink()
        log.close()
