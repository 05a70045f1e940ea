"""One device as the study sees it: what it is, and `profile` of a batch, which heals what can be healed."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
from edgepareto.host.domain import Batch, DeviceInfo, ProfileTrace
from edgepareto.host.domain.incident import Incident
from edgepareto.host.errors import DeviceError, DeviceLost
from edgepareto.host.fleet import wire
from edgepareto.host.fleet.channel import CALL_DEADLINE_S, ask_device_info, open_stub, reason
from edgepareto.host.fleet.lease import HeldLease
from edgepareto.host.fleet.local_agent import LocalAgent
from edgepareto.profiler.v1 import profiler_pb2 as pb

__all__ = ["ProfilerClient"]

CHUNK_BYTES = 512 << 10
# Of one step, such as a block or a window, and of waiting for another batch. The agent ends a step that hangs itself,
# and keepalive notices a board that is gone: this is for an agent that answers but does not get on.
STEP_DEADLINE_S = {"quick": 900.0, "standard": 3600.0, "audit": 4 * 3600.0}
SLOWEST_LINK_BYTES_PER_S = 50_000
RECONNECT_S = 5.0  # how long a board may be gone, after the 15 s in which keepalive notices that it is
BUSY_POLL_S = 0.5
HEALINGS = 3  # per batch and kind; the same trouble again and again is a lost device


class ProfilerClient:
    """A connected device whose lease is held. One `profile` at a time; `close` may come from another thread."""

    def __init__(
        self,
        *,
        info: DeviceInfo,
        target: str,
        channel: grpc.Channel,
        lease: HeldLease,
        agent: LocalAgent | None,
        host_boot_id: str | None,
    ) -> None:
        self._info = info
        self._target = target
        self._channel = channel
        self._stub = open_stub(channel)
        self._lease = lease
        self._agent = agent
        self._host_boot_id = host_boot_id
        self._closed = threading.Event()

    @property
    def info(self) -> DeviceInfo:
        return self._info

    def profile(
        self,
        batch: Batch,
        on_progress: Callable[[str], None],
        on_incident: Callable[[Incident], None] = lambda incident: None,
    ) -> tuple[ProfileTrace, ...]:
        """The anchor's trace first, then the entries' in order. Raises DeviceLost where the device has no more to give.

        Blobs that the agent forgot are sent again, a lost lease or connection is taken up again, and a batch that was
        measured meanwhile is answered from the agent's journal: nothing is measured twice under one request key. A slow
        model may take any time as long as the batch gets on, a step within each STEP_DEADLINE_S.
        """
        hashes = {path: _sha256_of(path) for path in _data_files(batch)}
        files = {digest: path for path, digest in hashes.items()}
        files |= {entry.model_sha256: entry.model for entry in (batch.anchor, *batch.entries)}
        deadline = time.monotonic() + STEP_DEADLINE_S[batch.preset]
        troubles: Counter[grpc.StatusCode] = Counter()
        while True:
            if self._closed.is_set():
                raise DeviceLost(f"{self._info.name}: the connection was closed")
            try:
                self._upload_missing(files)
                request = wire.profile_request(batch, hashes, self._lease.id)
                return self._follow(batch, request, on_progress)
            except grpc.RpcError as error:
                code = error.code()
                troubles[code] += 1
                if troubles[code] > HEALINGS and code is not grpc.StatusCode.ABORTED:
                    raise DeviceLost(f"{self._info.name}: {reason(error)} ({troubles[code]} times)") from error
                if code is not grpc.StatusCode.ABORTED:
                    deadline = time.monotonic() + STEP_DEADLINE_S[batch.preset]
                self._heal(error, deadline, on_progress)
            except ValueError as error:
                if not self._closed.is_set():
                    raise
                raise DeviceLost(f"{self._info.name}: the connection was closed") from error  # between two calls

    def close(self) -> None:
        """Give the lease back and hang up; a `profile` in another thread ends with DeviceLost. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._lease.release()
        self._channel.close()

    def _heal(self, error: grpc.RpcError, deadline: float, on_progress: Callable[[str], None]) -> None:
        """Returns when it is worth asking again. Raises DeviceLost."""
        name = self._info.name
        code = error.code()
        if self._closed.is_set():
            raise DeviceLost(f"{name}: the connection was closed") from error
        if code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.DEADLINE_EXCEEDED):
            return  # the next round asks again and uploads what the agent misses
        if code is grpc.StatusCode.PERMISSION_DENIED:
            try:
                self._lease.acquire()
            except DeviceError as refusal:
                raise DeviceLost(str(refusal)) from error
        elif code is grpc.StatusCode.ABORTED and time.monotonic() < deadline:
            on_progress("waiting for the board")
            self._closed.wait(BUSY_POLL_S)
        elif code is grpc.StatusCode.UNAVAILABLE:
            self._reconnect(error)
        else:
            raise DeviceLost(f"{name}: {reason(error)}") from error

    def _reconnect(self, cause: grpc.RpcError) -> None:
        """Find the same board again within RECONNECT_S. Raises DeviceLost."""
        name = self._info.name
        deadline = time.monotonic() + RECONNECT_S
        while True:
            last_words = None if self._agent is None else self._agent.last_words()
            if last_words is not None:
                raise DeviceLost(f"{name}: its agent ended: {last_words}") from cause
            try:
                found = ask_device_info(self._stub, name, self._target, host_boot_id=self._host_boot_id)
                break
            except DeviceError as error:
                if time.monotonic() > deadline or self._closed.wait(BUSY_POLL_S):
                    raise DeviceLost(f"{name}: lost in the middle of a batch: {reason(cause)}") from error
        if (found.board_id, found.boot_id) != (self._info.board_id, self._info.boot_id):
            raise DeviceLost(
                f"{name}: BOARD_REBOOTED: boot {self._info.boot_id} ended in the middle of a batch; "
                "search again with --resume"
            ) from cause
        try:
            self._lease.acquire()
        except DeviceError as refusal:
            raise DeviceLost(str(refusal)) from cause

    def _follow(
        self, batch: Batch, request: pb.ProfileRequest, on_progress: Callable[[str], None]
    ) -> tuple[ProfileTrace, ...]:
        """Join the batch, again and again while it gets on. Raises grpc.RpcError, DeviceLost."""
        timeout_s = STEP_DEADLINE_S[batch.preset]
        newest = pb.Progress()

        def on_step(step: pb.Progress) -> None:
            nonlocal newest
            if step != newest:  # a batch that is joined again tells its latest step again
                newest = step
                on_progress(wire.progress_text(step))

        while True:
            known = newest
            try:
                return self._profile_once(batch, request, timeout_s, on_step)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
                if newest == known:
                    name, at = self._info.name, wire.progress_text(newest)
                    raise DeviceLost(f"{name}: its batch stands still at {at!r} for {timeout_s:.0f} s") from error

    def _profile_once(
        self, batch: Batch, request: pb.ProfileRequest, timeout_s: float, on_step: Callable[[pb.Progress], None]
    ) -> tuple[ProfileTrace, ...]:
        """Raises grpc.RpcError, DeviceLost."""
        traces: list[ProfileTrace] = []
        data = bytearray()
        done = False
        call = self._stub.Profile(request, timeout=timeout_s)
        try:
            for event in call:
                kind = event.WhichOneof("event")
                if kind == "progress":
                    on_step(event.progress)
                elif kind == "result_chunk":
                    data += event.result_chunk.data
                    if event.result_chunk.last:
                        traces.append(wire.profile_trace(bytes(data), self._info.name))
                        data.clear()
                elif kind == "done":
                    done = True
        except ValueError as error:
            raise DeviceLost(f"{self._info.name}: {error}") from error
        finally:
            call.cancel()
        wanted = [batch.anchor.candidate, *(entry.candidate for entry in batch.entries)]
        answered = [trace.candidate for trace in traces]
        if not done or answered != wanted:
            raise DeviceLost(f"{self._info.name}: batch {batch.request_key} asked for {wanted}, answered {answered}")
        return tuple(traces)

    def _upload_missing(self, files: Mapping[str, Path]) -> None:
        """Raises grpc.RpcError."""
        answer = self._stub.HasBlobs(pb.HasBlobsRequest(sha256=sorted(files)), timeout=CALL_DEADLINE_S)
        for digest in answer.missing_sha256:
            size_bytes = files[digest].stat().st_size
            header = pb.BlobHeader(lease_id=self._lease.id, sha256=digest, size_bytes=size_bytes)
            timeout_s = 30 + size_bytes / SLOWEST_LINK_BYTES_PER_S
            self._stub.UploadBlob(_upload(header, files[digest]), timeout=timeout_s)


def _upload(header: pb.BlobHeader, path: Path) -> Iterator[pb.UploadBlobRequest]:
    yield pb.UploadBlobRequest(header=header)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield pb.UploadBlobRequest(data=chunk)


def _data_files(batch: Batch) -> set[Path]:
    """Files whose hash does not stand in the batch."""
    return {batch.inputs, batch.anchor.expected_outputs, *(entry.expected_outputs for entry in batch.entries)}


def _sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
