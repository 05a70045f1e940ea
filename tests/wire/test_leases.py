"""The board's lease over TLS: who holds it by certificate, who waits, who was unlocked; and a host of version 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from edgepareto.agent.credentials import CredentialFolder
from edgepareto.profiler.v1 import profiler_pb2 as pb
from edgepareto.profiler.v1 import profiler_pb2_grpc
from fakes.certificates import Authority, Certificate, write_credentials
from fakes.fake_agent import fake_server
from fakes.measuring import FakeMeasuring
from fakes.secured_agent import dial, profiler

ANN = Authority()
ANNS, BOBS = ANN.host("ann@desk"), ANN.host("bob@desk")
Call = Callable[[Certificate], profiler_pb2_grpc.ProfilerStub]


@pytest.fixture
def call(tmp_path: Path) -> Iterator[Call]:
    """The board's agent, as called with a certificate."""
    credentials = CredentialFolder(write_credentials(tmp_path / "credentials", ANN.board(), {"ann": ANN}))
    server = fake_server(tmp_path / "state", FakeMeasuring(), credentials=credentials)
    address = server.start("127.0.0.1:0")
    with ExitStack() as stack:
        yield lambda certificate: profiler(stack.enter_context(dial(address, ANN, certificate)))
    server.stop()


def holder(stub: profiler_pb2_grpc.ProfilerStub, version: int = 2) -> pb.DeviceInfo:
    return stub.GetDeviceInfo(pb.GetDeviceInfoRequest(protocol_version=version))


def test_whoever_asks_is_told_who_holds_the_board_and_who_waits(call: Call):
    ann, bob = call(ANNS), call(BOBS)
    assert not holder(bob).HasField("holder")
    ann.AcquireLease(pb.AcquireLeaseRequest(owner="ann@desk study", ttl_s=30))
    refused = bob.AcquireLease(pb.AcquireLeaseRequest(owner="bob@desk other", ttl_s=30, wait=True))
    assert (refused.granted, refused.queue_position, refused.owner) == (False, 1, "ann@desk study")
    assert refused.owner_fingerprint == ANNS.fingerprint
    told = holder(bob).holder
    assert (told.owner, told.fingerprint, told.waiting) == ("ann@desk study", ANNS.fingerprint, 1)
    assert 29 < told.expires_in_s <= 30


def test_a_new_process_of_the_same_host_takes_its_own_lease_over_and_one_with_another_certificate_does_not(call: Call):
    study = pb.AcquireLeaseRequest(owner="ann@desk study", ttl_s=30)
    first = call(ANNS).AcquireLease(study)
    again = call(ANNS).AcquireLease(study)
    assert again.granted
    assert not call(ANNS).RenewLease(pb.RenewLeaseRequest(lease_id=first.lease_id, ttl_s=30)).granted
    assert not call(ANN.host("ann@desk")).AcquireLease(study).granted


def test_who_is_unlocked_learns_it_from_its_next_renewal(call: Call):
    ann, bob = call(ANNS), call(BOBS)
    lease = ann.AcquireLease(pb.AcquireLeaseRequest(owner="ann@desk study", ttl_s=30))
    bob.AcquireLease(pb.AcquireLeaseRequest(owner="bob@desk other", ttl_s=30, wait=True))
    ended = bob.Unlock(pb.UnlockRequest(by="bob@desk")).ended
    assert (ended.owner, ended.waiting) == ("ann@desk study", 1)
    renewal = ann.RenewLease(pb.RenewLeaseRequest(lease_id=lease.lease_id, ttl_s=30))
    assert (renewal.granted, renewal.unlocked_by) == (False, "bob@desk")
    asked = ann.AcquireLease(pb.AcquireLeaseRequest(owner="ann@desk study", ttl_s=30))
    assert (asked.granted, asked.unlocked_by) == (False, "bob@desk")
    assert bob.AcquireLease(pb.AcquireLeaseRequest(owner="bob@desk other", ttl_s=30, wait=True)).granted
    assert bob.Unlock(pb.UnlockRequest(by="bob@desk")).ended.owner == "bob@desk other"


@pytest.mark.parametrize(("host", "spoken"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_an_agent_answers_in_the_newest_version_that_both_know(call: Call, host: int, spoken: int):
    assert holder(call(ANNS), host).protocol_version == spoken
