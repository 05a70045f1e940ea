"""Who sets a clock mode: this process, where it may write the kernel's files, or the service that the board's owner
gave it for that (clock_service.py)."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path

from edgepareto.agent.conditions.clock_modes import clock_mode, fixer_of
from edgepareto.agent.conditions.clocks import ClockFixer
from edgepareto.agent.errors import ClockError

__all__ = ["OwnSetter", "ServiceSetter"]

ANSWER_S = 20.0  # of the service: nvpmodel there and back, and what is put back of an earlier one
LONGEST_ANSWER_BYTES = 4096

log = logging.getLogger(__name__)


class OwnSetter:
    """See ClockSetter. saved: the file that outlives a kill; it is this agent alone that uses it."""

    def __init__(self, sys_root: Path, saved: Path) -> None:
        self._root = sys_root
        self._saved = saved

    def offered(self, names: Sequence[str]) -> tuple[str, ...]:
        self.release()
        for name in names:
            obstacle = fixer_of(self._root, self._saved, clock_mode(self._root, name)).obstacle()
            if obstacle is not None:
                raise ClockError(obstacle)
        return tuple(names)

    def set(self, name: str) -> None:
        fixer_of(self._root, self._saved, clock_mode(self._root, name)).set()

    def release(self) -> None:
        ClockFixer(self._root, self._saved).restore()


class ServiceSetter:
    """See ClockSetter. A connection of the service is held as long as a mode is: its end, also by kill -9, puts all
    back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channel: socket.socket | None = None

    def offered(self, names: Sequence[str]) -> tuple[str, ...]:
        channel = self._connected()
        with channel:
            allowed = self._asked(channel, "modes").split()
        return tuple(name for name in names if name in allowed)

    def set(self, name: str) -> None:
        self.release()
        channel = self._connected()
        try:
            self._asked(channel, f"set {name}")
        except ClockError:
            channel.close()
            raise
        self._channel = channel

    def release(self) -> None:
        channel, self._channel = self._channel, None
        if channel is None:
            return
        with channel:
            try:
                channel.shutdown(socket.SHUT_WR)
                said = self._line(channel)
            except OSError as error:
                said = error.strerror or type(error).__name__
        if said != "restored":
            log.warning("whether the clocks were put back is not known: %s said %s", self._path, said or "nothing")

    def _connected(self) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        channel.settimeout(ANSWER_S)
        try:
            channel.connect(str(self._path))
        except OSError as error:
            channel.close()
            raise ClockError(
                f"{self._path}, which sets the clocks, does not answer: {error.strerror or 'too slow'}; "
                "systemctl status edgepareto-clocks.socket"
            ) from error
        return channel

    def _asked(self, channel: socket.socket, request: str) -> str:
        """What comes behind "ok". Raises ClockError."""
        try:
            channel.sendall(f"{request}\n".encode())
            word, _, rest = self._line(channel).partition(" ")
        except OSError as error:
            raise ClockError(f"{self._path} does not answer: {error.strerror or 'too slow'}") from error
        if word != "ok":
            raise ClockError(rest or f"{self._path} ended without an answer; journalctl -u 'edgepareto-clocks@*'")
        return rest

    @staticmethod
    def _line(channel: socket.socket) -> str:
        data = b""
        while not data.endswith(b"\n") and len(data) < LONGEST_ANSWER_BYTES:
            piece = channel.recv(LONGEST_ANSWER_BYTES)
            if not piece:
                break
            data += piece
        return data.decode("utf-8", errors="replace").strip()
