"""An upload as it comes, but not for ever: a stalled client must not keep a thread and promised room."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import grpc
from edgepareto.agent import wire
from edgepareto.agent.errors import RequestError, UploadCorrupt, UploadStalled
from edgepareto.agent.message_guard import readable_message
from edgepareto.profiler.v1 import profiler_pb2 as pb

__all__ = ["UploadStream"]

SILENCE_S = 30.0  # longest time between two messages
GRACE_S = 60.0  # for any upload, and beside it at least
SLOWEST_BYTES_PER_S = 20_000  # less than half of what hosts give up at
AHEAD = 4  # messages received while the disk writes


class UploadStream:
    """The header, then the data. `close` when no more is wanted.

    gRPC's iterator waits without a limit, so a thread waits in our place; it ends with the call.
    """

    def __init__(self, messages: Iterator[pb.UploadBlobRequest]) -> None:
        self._messages = messages
        self._received: queue.SimpleQueue[pb.UploadBlobRequest | UploadCorrupt | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(AHEAD)
        self._closed = False
        threading.Thread(target=self._receive, name="upload", daemon=True).start()

    def header(self) -> pb.BlobHeader:
        """Raises RequestError, UploadStalled, UploadCorrupt."""
        first = self._next(SILENCE_S)
        if first is None or not first.HasField("header"):
            raise RequestError("an upload starts with its header: lease, sha256 and size")
        wire.check_bounds(first)
        return first.header

    def chunks(self, size_bytes: int) -> Iterator[bytes]:
        """Raises UploadStalled, UploadCorrupt where the connection ends first, RequestError for what is no data."""
        until_s = time.monotonic() + GRACE_S + size_bytes / SLOWEST_BYTES_PER_S
        while (message := self._next(min(SILENCE_S, until_s - time.monotonic()))) is not None:
            if not message.HasField("data"):
                raise RequestError("after its header an upload holds data only")
            yield message.data

    def close(self) -> None:
        self._closed = True
        self._room.release()

    def _next(self, timeout_s: float) -> pb.UploadBlobRequest | None:
        """None: the client has sent everything."""
        try:
            received = self._received.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            raise UploadStalled("the upload's next bytes did not come in time; send it again") from None
        self._room.release()
        if isinstance(received, UploadCorrupt):
            raise received
        if received is not None:
            readable_message(received)
        return received

    def _receive(self) -> None:
        try:
            for message in self._messages:
                self._room.acquire()
                if self._closed:
                    return
                self._received.put(message)
        except grpc.RpcError:
            self._received.put(UploadCorrupt("the connection ended in the middle of an upload; send it again"))
        else:
            self._received.put(None)
