"""Stands in for systemd: starts the clock service anew for each connection to a socket, as edgepareto-clocks.socket."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

__all__ = ["ClockService"]


class ClockService:
    """Of a fake tree; `allowed` and the state are files in `folder`. processes: of every connection so far."""

    def __init__(self, folder: Path, root: Path, allowed: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "clocks.sock"
        self.allowed = folder / "clock-modes"
        self.allowed.write_text(allowed)
        self.saved = folder / "saved.json"
        self.processes: list[subprocess.Popen[str]] = []
        self._root = root
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def command(self) -> list[str]:
        module = "edgepareto.agent.conditions.clock_service"
        options = ["--allowed", str(self.allowed), "--saved", str(self.saved), "--sys-root", str(self._root)]
        return [sys.executable, "-I", "-m", module, *options]

    def ask(self, data: bytes) -> str:
        """All that it answers to these bytes, the connection being held open until it has answered."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(30)
            channel.connect(str(self.path))
            channel.sendall(data)
            answer = channel.recv(4096)
            channel.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):  # it did not read all
                while piece := channel.recv(4096):
                    answer += piece
        return answer.decode()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for process in self.processes:
            process.wait(30)
            assert process.stderr is not None
            process.stderr.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                process = subprocess.Popen(
                    self.command, stdin=connection, stderr=subprocess.PIPE, text=True, close_fds=True
                )
            self.processes.append(process)
