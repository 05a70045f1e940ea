"""One certificate that keeps as many calls open as it can: every other owner still gets an answer. A real agent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from edgepareto.agent.call_share import CALLS_AT_ONCE
from edgepareto.agent.server import WORKER_THREADS
from edgepareto.host.fleet.vanishing import is_transport
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.certificates import Authority
from fakes.secured_agent import SecuredAgent, dial, profiler, secured_agent
from grpc_health.v1 import health_pb2, health_pb2_grpc

DEADLINE_S = 20
TRIES = WORKER_THREADS + 4
ASK = pb.GetDeviceInfoRequest(protocol_version=2)
BOB = Authority("bob")


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredAgent]:
    with secured_agent(tmp_path_factory.mktemp("agent"), BOB) as running:
        yield running


@pytest.mark.parametrize(
    "method",
    [
        "edgepareto.profiler.v1.Profiler/UploadBlob",
        "edgepareto.profiler.v1.Profiler/GetDeviceInfo",  # its one message is awaited as well
        "grpc.health.v1.Health/Check",
    ],
)
def test_calls_whose_message_never_comes_leave_the_board_to_every_other_owner(agent: SecuredAgent, method: str):
    goes_on = threading.Event()

    def nothing() -> Iterator[bytes]:
        goes_on.wait(DEADLINE_S)
        yield from ()

    with (
        dial(agent.address, agent.ann, agent.ann.host()) as anns,
        dial(agent.address, agent.ann, BOB.host("bob@laptop")) as bobs,
    ):
        try:
            call = anns.stream_unary(f"/{method}")
            calls = [call.future(nothing(), timeout=DEADLINE_S) for _ in range(TRIES)]
            _until(lambda: len([one for one in calls if one.done()]) >= TRIES - WORKER_THREADS)
            lease = profiler(bobs).AcquireLease(
                pb.AcquireLeaseRequest(owner="bob@laptop", ttl_s=30), timeout=DEADLINE_S
            )
            assert lease.granted
            profiler(bobs).ReleaseLease(pb.ReleaseLeaseRequest(lease_id=lease.lease_id), timeout=DEADLINE_S)
            health = health_pb2_grpc.HealthStub(bobs).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
            assert health.status == health_pb2.HealthCheckResponse.SERVING
            _until(lambda: len([one for one in calls if one.done()]) == TRIES - CALLS_AT_ONCE)
            refused = {one.code(): one.details() for one in calls if one.done()}
            assert refused[grpc.StatusCode.ABORTED] == (
                f"'host:ann@desk' has {CALLS_AT_ONCE} calls open on this board already; try again when one of them ends"
            )
        finally:
            goes_on.set()
        for one in calls:
            one.exception(DEADLINE_S)
        assert profiler(anns).GetDeviceInfo(ASK, timeout=DEADLINE_S).board == "raspberry-pi-4b"


def test_an_agent_whose_threads_are_all_taken_is_looked_for_again(agent: SecuredAgent):
    """By two certificates, each within its share; it is no full disk."""
    goes_on = threading.Event()

    def nothing() -> Iterator[bytes]:
        goes_on.wait(DEADLINE_S)
        yield from ()

    with (
        dial(agent.address, agent.ann, agent.ann.host()) as anns,
        dial(agent.address, agent.ann, BOB.host("bob@laptop")) as bobs,
    ):
        uploads = [channel.stream_unary("/edgepareto.profiler.v1.Profiler/UploadBlob") for channel in (anns, bobs)]
        own_share = [upload for upload in uploads for _ in range(CALLS_AT_ONCE - 1)]
        calls = [upload.future(nothing(), timeout=2 * DEADLINE_S) for upload in own_share]
        try:

            def begin_refused_ones_again() -> None:
                """The question below takes a thread as well, which one of these may have wanted at that moment."""
                for place, upload in enumerate(own_share):
                    if calls[place].done():
                        calls[place] = upload.future(nothing(), timeout=2 * DEADLINE_S)

            def refusal() -> grpc.RpcError | None:
                begin_refused_ones_again()
                try:
                    profiler(anns).GetDeviceInfo(ASK, timeout=DEADLINE_S)
                except grpc.RpcError as error:
                    return error
                return None

            _until(lambda: refusal() is not None)
            seen = refusal()
            assert seen is not None
            assert seen.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert is_transport(seen)
        finally:
            goes_on.set()
        for one in calls:
            one.exception(DEADLINE_S)


def test_a_call_of_one_message_that_sends_none_is_told_so(agent: SecuredAgent):
    with dial(agent.address, agent.ann, agent.ann.host()) as channel:
        call = channel.stream_unary("/edgepareto.profiler.v1.Profiler/GetDeviceInfo")
        with pytest.raises(grpc.RpcError) as refusal:
            call(iter([]), timeout=DEADLINE_S)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_who_comes_often_is_never_refused_for_what_is_over(agent: SecuredAgent):
    with dial(agent.address, agent.ann, agent.ann.host()) as channel, ThreadPoolExecutor(CALLS_AT_ONCE) as threads:
        stub = profiler(channel)
        unknown = pb.FetchResultRequest(request_key="k")

        def ask(place: int) -> grpc.StatusCode | None:
            try:
                stub.GetDeviceInfo(ASK, timeout=DEADLINE_S)
                next(stub.FetchResult(unknown, timeout=DEADLINE_S))
            except grpc.RpcError as error:
                return error.code()
            return None

        assert set(threads.map(ask, range(20 * CALLS_AT_ONCE))) == {grpc.StatusCode.NOT_FOUND}


def test_none_of_these_calls_left_a_traceback_in_the_log(agent: SecuredAgent):
    assert "Traceback" not in agent.log.read_text()


def _until(is_so: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(int(DEADLINE_S / 0.02)):
        if is_so():
            return
        waited.wait(0.02)
    pytest.fail(f"not so after {DEADLINE_S} s")
