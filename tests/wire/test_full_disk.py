"""A board whose disk takes no more: a real limit on a real agent's files. What was measured is never lost by it."""

from __future__ import annotations

import hashlib
import resource

import grpc
import pytest
from edgepareto.host.fleet import wire
from edgepareto.host.fleet.channel import open_channel
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.secured_agent import profiler

DEADLINE_S = 20
ROOM_BYTES = 1000  # for any one file: enough for the models here, not for a batch's results


@pytest.fixture
def full_agent(start_agent_process):
    agent = start_agent_process()
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, ROOM_BYTES))
    return agent


def test_an_upload_that_the_disk_does_not_take_is_told_and_the_next_one_is_taken(full_agent):
    with open_channel(full_agent.address) as channel:
        stub = profiler(channel)
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner="ann", ttl_s=60), timeout=DEADLINE_S).lease_id
        with pytest.raises(grpc.RpcError) as refusal:
            upload(stub, lease, bytes(ROOM_BYTES + 1))
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the board's disk is full" in refusal.value.details()
        assert list((full_agent.state / "blobs").iterdir()) == []
        assert upload(stub, lease, b"small").size_bytes == 5


def test_results_that_cannot_be_journalled_reach_the_host_and_are_not_measured_again_for_it(full_agent, files):
    batch = files.batch()
    paths = {batch.inputs, *(p for e in (batch.anchor, *batch.entries) for p in (e.model, e.expected_outputs))}
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    with open_channel(full_agent.address) as channel:
        stub = profiler(channel)
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner="ann", ttl_s=60), timeout=DEADLINE_S).lease_id
        for path in paths:
            upload(stub, lease, path.read_bytes())
        first, again = (events(stub, wire.profile_request(batch, hashes, lease)) for _ in range(2))
    assert [chunk.data for chunk in first[:-1]] == [chunk.data for chunk in again[:-1]]
    assert len(first) == 4
    assert (first[-1].from_journal, again[-1].from_journal) == (False, True)
    assert list((full_agent.state / "journal").iterdir()) == []
    assert full_agent.measured() == [batch.request_key]


def upload(stub, lease: str, content: bytes) -> pb.UploadBlobResponse:
    header = pb.BlobHeader(lease_id=lease, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    messages = [pb.UploadBlobRequest(header=header), pb.UploadBlobRequest(data=content)]
    return stub.UploadBlob(iter(messages), timeout=DEADLINE_S)


def events(stub, request: pb.ProfileRequest) -> list[pb.ResultChunk | pb.BatchDone]:
    """But for the progress."""
    told = stub.Profile(request, timeout=DEADLINE_S)
    return [getattr(event, kind) for event in told if (kind := event.WhichOneof("event")) != "progress"]
