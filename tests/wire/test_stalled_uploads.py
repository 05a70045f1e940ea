"""Clients that begin an upload and do not go on: told so, and the board is there for everyone else."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from edgepareto.agent import upload_stream
from edgepareto.host.fleet.channel import open_channel
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.secured_agent import profiler

DEADLINE_S = 20


class Stalling:
    """Sends the header and one byte of `name`, then nothing until `goes_on`."""

    def __init__(self, lease_id: str, content: bytes = b"ab") -> None:
        self._content = content
        self._header = pb.BlobHeader(
            lease_id=lease_id, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
        )
        self.goes_on = threading.Event()

    def messages(self) -> Iterator[pb.UploadBlobRequest]:
        yield pb.UploadBlobRequest(header=self._header)
        yield pb.UploadBlobRequest(data=self._content[:1])
        self.goes_on.wait(DEADLINE_S)
        yield pb.UploadBlobRequest(data=self._content[1:])


def test_a_stalled_upload_ends_with_a_status_and_leaves_no_thread_and_no_file(start_agent, monkeypatch):
    monkeypatch.setattr(upload_stream, "SILENCE_S", 0.1)
    agent = start_agent()
    with open_channel(agent.address) as channel:
        stub = profiler(channel)
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner="ann", ttl_s=60), timeout=DEADLINE_S).lease_id
        for _ in range(10):  # more than the agent has threads
            upload = Stalling(lease)
            with pytest.raises(grpc.RpcError) as refusal:
                stub.UploadBlob(upload.messages(), timeout=DEADLINE_S)
            upload.goes_on.set()
            assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "did not come in time; send it again" in refusal.value.details()
        assert list((agent.state / "blobs").iterdir()) == []
    _until_no_thread_is_called("upload")


def test_two_uploads_at_once_are_taken_and_a_third_is_asked_to_wait(start_agent):
    agent = start_agent()
    with open_channel(agent.address) as channel, ThreadPoolExecutor(2) as pool:
        stub = profiler(channel)
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner="ann", ttl_s=60), timeout=DEADLINE_S).lease_id
        slow = [Stalling(lease, content) for content in (b"ab", b"cd")]
        running = [pool.submit(stub.UploadBlob, upload.messages(), timeout=DEADLINE_S) for upload in slow]
        _until(lambda: len(list((agent.state / "blobs").glob("*.partial"))) == 2)
        third = Stalling(lease, b"ef")
        third.goes_on.set()
        with pytest.raises(grpc.RpcError) as refusal:
            stub.UploadBlob(third.messages(), timeout=DEADLINE_S)
        assert refusal.value.code() is grpc.StatusCode.ABORTED
        for upload in slow:
            upload.goes_on.set()
        assert [one.result(DEADLINE_S).size_bytes for one in running] == [2, 2]
        assert stub.UploadBlob(third.messages(), timeout=DEADLINE_S).size_bytes == 2


def _until_no_thread_is_called(name: str) -> None:
    _until(lambda: all(thread.name != name for thread in threading.enumerate()))


def _until(is_so) -> None:
    waited = threading.Event()
    for _ in range(int(DEADLINE_S / 0.02)):
        if is_so():
            return
        waited.wait(0.02)
    pytest.fail(f"not so after {DEADLINE_S} s")
