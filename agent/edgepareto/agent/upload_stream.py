"""The bytes of an upload as they come, but not for ever: a stalled client must not keep a thread and promised room."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import grpc
from edgepareto.agent.errors import RequestError, UploadCorrupt, UploadStalled
from edgepareto.profiler.v1 import profiler_pb2 as pb

__all__ = ["chunks_of"]

SILENCE_S = 30.0  # longest time between two chunks
GRACE_S = 60.0  # for any upload, and beside it at least
SLOWEST_BYTES_PER_S = 20_000  # less than half of what hosts give up at
CHUNKS_AHEAD = 4  # received while the disk writes


def chunks_of(
    messages: Iterator[pb.UploadBlobRequest], size_bytes: int, *, silence_s: float = SILENCE_S
) -> Iterator[bytes]:
    """Raises UploadStalled, UploadCorrupt where the connection ends first, RequestError where a message is no data."""
    stream = _Stream(messages)
    until_s = time.monotonic() + GRACE_S + size_bytes / SLOWEST_BYTES_PER_S
    try:
        while (message := stream.next(min(silence_s, until_s - time.monotonic()))) is not None:
            if not message.HasField("data"):
                raise RequestError("after its header an upload holds data only")
            yield message.data
    finally:
        stream.close()


class _Stream:
    """gRPC's iterator waits without a limit, so a thread waits in our place; it ends with the call."""

    def __init__(self, messages: Iterator[pb.UploadBlobRequest]) -> None:
        self._messages = messages
        self._received: queue.SimpleQueue[pb.UploadBlobRequest | UploadCorrupt | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(CHUNKS_AHEAD)
        self._closed = False
        threading.Thread(target=self._receive, name="upload", daemon=True).start()

    def next(self, timeout_s: float) -> pb.UploadBlobRequest | None:
        """None: the client has sent everything."""
        try:
            received = self._received.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            raise UploadStalled("the upload's next bytes did not come in time; send it again") from None
        self._room.release()
        if isinstance(received, UploadCorrupt):
            raise received
        return received

    def close(self) -> None:
        self._closed = True
        self._room.release()

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
