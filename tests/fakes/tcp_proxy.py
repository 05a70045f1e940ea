"""The network between host and board, as a test wants it: a real TCP proxy on this machine that can be told to fail."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

PIECE_BYTES = 64 << 10
DIAL_S = 5.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST

Direction = Literal["up", "down"]  # up: to the board


@dataclass
class _Damage:
    """One bit to flip: of the first byte of `marker`, or of the byte `after_bytes` from now where there is none."""

    marker: bytes
    after_bytes: int
    always: bool


@dataclass
class _Way:
    """held: takes bytes and passes none on, until it is let go."""

    held: bool = False
    passed_bytes: int = 0
    damages: list[_Damage] = field(default_factory=list)


class TcpProxy:
    """Listens from its beginning to `close`. Every order takes effect before it returns, for open connections too."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._upstream = (host, int(port))
        self._changed = threading.Condition()
        self._ways: dict[Direction, _Way] = {"up": _Way(), "down": _Way()}
        self._open: set[socket.socket] = set()
        self._is_cut = False
        self._closed = threading.Event()
        self._delay_s = 0.0
        self._bytes_per_s: float | None = None
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def lead_to(self, address: str) -> None:
        """Connections from now on go there: a board that was started again."""
        host, _, port = address.rpartition(":")
        self._upstream = (host, int(port))

    def cut(self) -> None:
        """Reset every connection, and end each new one at once."""
        with self._changed:
            self._is_cut = True
            self._reset_all()

    def mend(self) -> None:
        """After a cut; also what is held goes on."""
        with self._changed:
            self._is_cut = False
            for way in self._ways.values():
                way.held = False
            self._changed.notify_all()

    def hold(self, *directions: Direction) -> None:
        """A black hole: connections stay open and new ones are taken, but no byte arrives. Both ways by default."""
        with self._changed:
            for direction in directions or ("up", "down"):
                self._ways[direction].held = True

    def slow(self, *, delay_s: float = 0.0, bytes_per_s: float | None = None) -> None:
        """Every piece on its way comes so much later; both ways."""
        self._delay_s = delay_s
        self._bytes_per_s = bytes_per_s

    def corrupt(self, direction: Direction, *, marker: bytes = b"", after_bytes: int = 0, always: bool = False) -> None:
        """Flip one bit: of the next `marker`, or of the byte that comes after so many. always: of every marker."""
        with self._changed:
            self._ways[direction].damages.append(_Damage(marker, after_bytes, always))

    def is_corrupted(self) -> bool:
        """Whether all that was to be corrupted has passed."""
        with self._changed:
            return not any(way.damages for way in self._ways.values())

    def passed_bytes(self, direction: Direction) -> int:
        with self._changed:
            return self._ways[direction].passed_bytes

    def close(self) -> None:
        self._closed.set()
        with self._changed:
            self._reset_all()
            self._changed.notify_all()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts, which closing does not
        self._listener.close()
        self._thread.join()

    def _reset_all(self) -> None:
        for end in self._open:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            with contextlib.suppress(OSError):  # its other end was faster
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it, which closes it
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.connections += 1
            if self._is_cut:
                near.close()
                continue
            try:
                far = socket.create_connection(self._upstream, timeout=DIAL_S)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                if self._is_cut or self._closed.is_set():
                    near.close()
                    far.close()
                    continue
                self._open |= {near, far}
            for source, target, direction in ((near, far, "up"), (far, near, "down")):
                threading.Thread(target=self._pump, args=(source, target, direction), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, direction: Direction) -> None:
        way = self._ways[direction]
        try:
            while piece := source.recv(PIECE_BYTES):
                seconds = self._delay_s + (len(piece) / self._bytes_per_s if self._bytes_per_s else 0.0)
                if seconds:
                    self._closed.wait(seconds)
                with self._changed:
                    while way.held and source in self._open:
                        self._changed.wait(1.0)
                    piece = _damaged(way, piece)
                    way.passed_bytes += len(piece)
                target.sendall(piece)
        except OSError:
            return  # reset, by us or by an end
        finally:
            with self._changed:
                self._open -= {source, target}
                self._changed.notify_all()
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


def _damaged(way: _Way, piece: bytes) -> bytes:
    changed = bytearray(piece)
    for damage in list(way.damages):
        place = piece.find(damage.marker) if damage.marker else damage.after_bytes
        if 0 <= place < len(piece):
            changed[place] ^= 1
            if not damage.always:
                way.damages.remove(damage)
        elif not damage.marker:
            damage.after_bytes -= len(piece)
    return bytes(changed)
