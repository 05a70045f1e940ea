"""What passes between a host and an agent, counted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["CountingProxy", "counting_proxy"]


class CountingProxy:
    """bytes_from_host: of all connections so far."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.bytes_from_host = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._target)
                threading.Thread(target=self._pass_on, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_from_host: bool) -> None:
        with suppress(OSError):  # either side hung up
            while piece := source.recv(1 << 16):
                if is_from_host:
                    self.bytes_from_host += len(piece)
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def counting_proxy(target: str) -> Iterator[CountingProxy]:
    """Until the block ends. target: host:port."""
    proxy = CountingProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
