"""Who does not get in, and that the board says why. A real agent on TCP, certificates that it must not take."""

from __future__ import annotations

import datetime as dt
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.certificates import BOARD_NAME, NOW, Authority, write_credentials
from fakes.secured_agent import SecuredAgent, dial, profiler, secured_agent
from grpc_health.v1 import health_pb2, health_pb2_grpc

DAY = dt.timedelta(days=1)
DEADLINE_S = 10
ABSENT = "00" * 32
EVE = Authority("eve")
LATE = Authority("late", since=NOW + DAY)  # accepted by the board, whose clock is before it
ASK = pb.GetDeviceInfoRequest(protocol_version=2)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredAgent]:
    with secured_agent(tmp_path_factory.mktemp("agent"), LATE) as running:
        yield running


REFUSED = {
    "no certificate": (lambda ann: None, "it showed no certificate"),
    "a foreign CA": (lambda ann: EVE.host(), "its certificate is from no owner in the owners folder"),
    "a CA that calls itself alike": (
        lambda ann: Authority().host(),
        "its certificate is from no owner in the owners folder",
    ),
    "a board's as client": (lambda ann: ann.board(), "its certificate is not made for a host (a board's own?)"),
    "expired": (lambda ann: ann.host(until=NOW - DAY), "its certificate has expired"),
    "not yet valid": (
        lambda ann: ann.host(since=NOW + DAY),
        "its certificate is not yet valid by this board's clock",
    ),
    "of a CA not yet valid": (lambda ann: LATE.host(), "its certificate is not yet valid by this board's clock"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_shows_a_wrong_certificate_gets_no_connection_and_the_boards_log_says_why(
    tmp_path: Path, agent: SecuredAgent, case: str
):
    make, why = REFUSED[case]
    with dial(agent.address, agent.ann, make(agent.ann)) as channel:
        for call in (lambda: profiler(channel).GetDeviceInfo(ASK, timeout=DEADLINE_S), lambda: _health(channel)):
            assert _code(call) is grpc.StatusCode.UNAVAILABLE
    _until(lambda: any(line.startswith(f"WARNING refused a connection: {why}") for line in agent.log_lines()))


def test_a_host_that_finds_another_board_at_the_address_does_not_talk_to_it(agent: SecuredAgent):
    with dial(agent.address, agent.ann, agent.ann.host(), name="other.board.edgepareto") as channel:
        assert _code(lambda: profiler(channel).GetDeviceInfo(ASK, timeout=DEADLINE_S)) is grpc.StatusCode.UNAVAILABLE


def test_plain_text_is_not_answered_and_said_to_be_no_tls(agent: SecuredAgent):
    with grpc.insecure_channel(agent.address) as channel:
        assert _code(lambda: profiler(channel).GetDeviceInfo(ASK, timeout=DEADLINE_S)) is grpc.StatusCode.UNAVAILABLE
    _until(lambda: "WARNING refused a connection: it did not speak TLS" in agent.log_lines())


def test_a_certificate_without_a_hosts_role_is_answered_by_health_and_refused_by_every_other_call(agent: SecuredAgent):
    """A careless CA leaves the extended key usage out, and TLS then takes a board's certificate for a client's."""
    forged = agent.ann.issue("board:b0a4d", usage=None, dns=BOARD_NAME)
    with dial(agent.address, agent.ann, forged) as channel:
        for method, call in _every_call(channel).items():
            with pytest.raises(grpc.RpcError) as refusal:
                call()
            assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED, method
            assert refusal.value.details().startswith("a certificate named 'board:b0a4d' may not use this board")
        assert _health(channel) == health_pb2.HealthCheckResponse.SERVING


def test_every_call_of_the_contract_is_tried_above(agent: SecuredAgent):
    with dial(agent.address, agent.ann, agent.ann.host()) as channel:
        assert set(_every_call(channel)) == {
            method.name for method in pb.DESCRIPTOR.services_by_name["Profiler"].methods
        }


def test_health_keeps_no_call_open(agent: SecuredAgent):
    with dial(agent.address, agent.ann, agent.ann.host()) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
        assert _code(lambda: next(watch)) is grpc.StatusCode.UNIMPLEMENTED


def test_a_lease_that_another_host_replays_is_void(agent: SecuredAgent):
    ann, thief = agent.ann.host("ann@desk"), agent.ann.host("ann@desk")
    with dial(agent.address, agent.ann, ann) as mine, dial(agent.address, agent.ann, thief) as theirs:
        lease = profiler(mine).AcquireLease(
            pb.AcquireLeaseRequest(owner="ann@desk study", ttl_s=30), timeout=DEADLINE_S
        )
        assert lease.owner_fingerprint == ann.fingerprint
        assert not profiler(theirs).RenewLease(pb.RenewLeaseRequest(lease_id=lease.lease_id, ttl_s=30)).granted
        profiler(theirs).ReleaseLease(pb.ReleaseLeaseRequest(lease_id=lease.lease_id))
        upload = pb.UploadBlobRequest(header=pb.BlobHeader(lease_id=lease.lease_id, sha256=ABSENT, size_bytes=1))
        assert _code(lambda: profiler(theirs).UploadBlob(iter([upload]))) is grpc.StatusCode.PERMISSION_DENIED
        profile = pb.ProfileRequest(lease_id=lease.lease_id, request_key="k", preset="quick")
        assert _code(lambda: next(profiler(theirs).Profile(profile))) is grpc.StatusCode.PERMISSION_DENIED
        outputs = pb.ComputeOutputsRequest(lease_id=lease.lease_id, model_sha256=ABSENT, inputs_sha256=ABSENT)
        assert _code(lambda: next(profiler(theirs).ComputeOutputs(outputs))) is grpc.StatusCode.PERMISSION_DENIED
        assert profiler(mine).RenewLease(pb.RenewLeaseRequest(lease_id=lease.lease_id, ttl_s=30)).granted
        profiler(mine).ReleaseLease(pb.ReleaseLeaseRequest(lease_id=lease.lease_id))


def test_nobody_holds_a_board_under_the_name_of_another(agent: SecuredAgent):
    with dial(agent.address, agent.ann, agent.ann.host("eve@cafe")) as channel:
        lease = profiler(channel).AcquireLease(pb.AcquireLeaseRequest(owner="ann@desk study", ttl_s=30))
        assert lease.owner == "eve@cafe as ann@desk study"
        profiler(channel).ReleaseLease(pb.ReleaseLeaseRequest(lease_id=lease.lease_id))


def test_bytes_that_are_no_tls_do_not_disturb_and_a_flood_of_them_fills_no_log(agent: SecuredAgent):
    host, _, port = agent.address.rpartition(":")
    for size in [0, 1, 5, 300, 20_000] * 20:
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as raw:
            raw.sendall(os.urandom(size))
    with dial(agent.address, agent.ann, agent.ann.host()) as channel:
        assert _health(channel) == health_pb2.HealthCheckResponse.SERVING
    assert len(agent.log_lines()) < 20, agent.log_lines()


def test_no_line_of_the_log_holds_a_key_or_a_certificate(agent: SecuredAgent):
    assert "BEGIN" not in agent.log.read_text()


def test_a_new_owner_and_a_new_certificate_need_no_restart_and_a_half_written_folder_changes_nothing(tmp_path: Path):
    """Also the revocation: a connection that is made after it is refused."""
    bob = Authority("bob")
    with secured_agent(tmp_path) as agent:
        folder, ann = agent.credentials, agent.ann
        assert _lets_in(agent, ann, ann.host())
        assert not _lets_in(agent, ann, bob.host())
        write_credentials(folder, ann.board(), {"bob": bob})
        assert _lets_in(agent, ann, bob.host())
        (folder / "agent.pem").write_bytes(bob.board().certificate)  # its key is still to come
        assert _lets_in(agent, ann, bob.host())
        assert not _lets_in(agent, bob, bob.host())
        write_credentials(folder, bob.board(), {})
        assert _lets_in(agent, bob, ann.host())
        (folder / "owners" / "ann.pem").unlink()
        assert not _lets_in(agent, bob, ann.host())
        assert _lets_in(agent, bob, bob.host())
        kept = [line for line in agent.log_lines() if "the last whole certificate and key are kept" in line]
    assert len(kept) == 1
    assert "agent.key: are no certificate and its own private key" in kept[0]


def test_the_secured_server_stays_small_and_loads_no_library_of_the_host(agent: SecuredAgent):
    with dial(agent.address, agent.ann, agent.ann.host()) as channel:
        assert _health(channel) == health_pb2.HealthCheckResponse.SERVING
    mapped = Path(f"/proc/{agent.process.pid}/maps").read_text()
    assert [name for name in ("numpy", "cryptography", "onnxruntime", "_bcrypt") if name in mapped] == []
    assert agent.resident_bytes() < 64 << 20


def test_health_answers_to_nonsense_in_words(agent: SecuredAgent):
    with dial(agent.address, agent.ann, agent.ann.host()) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert _code(lambda: check(b"\xff", timeout=DEADLINE_S)) is grpc.StatusCode.INVALID_ARGUMENT


def _every_call(channel: grpc.Channel) -> dict[str, Callable[[], object]]:
    stub = profiler(channel)
    return {
        "GetDeviceInfo": lambda: stub.GetDeviceInfo(ASK, timeout=DEADLINE_S),
        "AcquireLease": lambda: stub.AcquireLease(pb.AcquireLeaseRequest(owner="x", ttl_s=30), timeout=DEADLINE_S),
        "RenewLease": lambda: stub.RenewLease(pb.RenewLeaseRequest(lease_id="x", ttl_s=30), timeout=DEADLINE_S),
        "ReleaseLease": lambda: stub.ReleaseLease(pb.ReleaseLeaseRequest(lease_id="x"), timeout=DEADLINE_S),
        "Unlock": lambda: stub.Unlock(pb.UnlockRequest(by="x"), timeout=DEADLINE_S),
        "HasBlobs": lambda: stub.HasBlobs(pb.HasBlobsRequest(sha256=[ABSENT]), timeout=DEADLINE_S),
        "UploadBlob": lambda: stub.UploadBlob(iter([pb.UploadBlobRequest(data=b"x")]), timeout=DEADLINE_S),
        "Profile": lambda: next(stub.Profile(pb.ProfileRequest(request_key="k"), timeout=DEADLINE_S)),
        "FetchResult": lambda: next(stub.FetchResult(pb.FetchResultRequest(request_key="k"), timeout=DEADLINE_S)),
        "ComputeOutputs": lambda: next(stub.ComputeOutputs(pb.ComputeOutputsRequest(), timeout=DEADLINE_S)),
    }


def _lets_in(agent: SecuredAgent, trusted: Authority, shown: object) -> bool:
    with dial(agent.address, trusted, shown) as channel:
        try:
            return _health(channel) == health_pb2.HealthCheckResponse.SERVING
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False


def _health(channel: grpc.Channel) -> int:
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S).status


def _code(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    return refusal.value.code()


def _until(is_so: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(int(DEADLINE_S / 0.02)):
        if is_so():
            return
        waited.wait(0.02)
    pytest.fail(f"not so after {DEADLINE_S} s")
