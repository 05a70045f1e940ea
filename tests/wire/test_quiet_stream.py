"""T21: a stream on which nothing is said, kept alive by the host's pings; ten minutes long in benchmarks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from edgepareto.agent import server
from edgepareto.host.domain import Batch
from edgepareto.host.fleet import channel, wire
from edgepareto.host.fleet.blobs import sha256_of, upload_missing
from edgepareto.host.fleet.channel import open_channel, open_stub
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.measuring import FakeMeasuring
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

DEADLINE_S = 30
TIMES_FASTER = 10  # pings every second instead of every ten, allowed twice as often as before


@pytest.fixture
def default_server(socket_folder: Path) -> Iterator[str]:
    """With gRPC's own idea of how often a client may ping."""
    plain = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, plain)
    address = f"unix:{socket_folder}/default.sock"
    plain.add_insecure_port(address)
    plain.start()
    yield address
    plain.stop(None)


def test_the_agent_allows_pings_more_often_than_the_host_sends_them():
    """T21"""
    wanted, sent = dict(server.OPTIONS), dict(channel.OPTIONS)
    assert wanted["grpc.http2.min_ping_interval_without_data_ms"] < sent["grpc.keepalive_time_ms"]
    assert wanted["grpc.keepalive_permit_without_calls"] == 1
    assert sent["grpc.http2.max_pings_without_data"] == 0  # 0: any number


def test_a_quiet_stream_outlives_the_pings_for_which_a_default_server_cuts_it_off(
    start_agent, files, default_server: str, monkeypatch
):
    """T21, ten times faster."""
    monkeypatch.setattr(channel, "OPTIONS", _with(channel.OPTIONS, "grpc.keepalive_time_ms", factor=1 / TIMES_FASTER))
    monkeypatch.setattr(
        server,
        "OPTIONS",
        _with(server.OPTIONS, "grpc.http2.min_ping_interval_without_data_ms", factor=1 / TIMES_FASTER),
    )
    agent = start_agent(FakeMeasuring(held=lambda: True), address="127.0.0.1:0")
    with open_channel(agent.address) as ours, open_channel(default_server) as other:
        quiet = _Quiet(_batch_that_is_held(ours, files.batch()))
        with pytest.raises(grpc.RpcError) as cut:
            _Quiet(health_pb2_grpc.HealthStub(other).Watch(health_pb2.HealthCheckRequest())).ended(DEADLINE_S)
        assert "too many pings" in (cut.value.details() or "").lower()
        assert quiet.is_open()
        # The very connection that was pinged still answers.
        answer = health_pb2_grpc.HealthStub(ours).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        quiet.cancel()


def _batch_that_is_held(dialled: grpc.Channel, batch: Batch):
    """The stream of a batch that never gets past its anchor."""
    stub = open_stub(dialled)
    lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner="ann", ttl_s=2 * DEADLINE_S), timeout=5)
    blobs = {path: sha256_of(path) for path in files_of(batch)}
    upload_missing(stub, lease.lease_id, {digest: path for path, digest in blobs.items()})
    return stub.Profile(wire.profile_request(batch, blobs, lease.lease_id))


def files_of(batch: Batch) -> set[Path]:
    entries = (batch.anchor, *batch.entries)
    return {batch.inputs, *(path for entry in entries for path in (entry.model, entry.expected_outputs))}


class _Quiet:
    """A stream that says something at its beginning, and then nothing."""

    def __init__(self, call) -> None:
        self._call = call
        next(self._call)
        self._over = threading.Event()
        self._error: grpc.RpcError | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def ended(self, timeout_s: float) -> None:
        """Wait for its end. Raises what ended it."""
        assert self._over.wait(timeout_s), "it is still open"
        assert self._error is not None
        raise self._error

    def is_open(self) -> bool:
        return not self._over.is_set()

    def cancel(self) -> None:
        self._call.cancel()
        assert self._over.wait(DEADLINE_S)

    def _read(self) -> None:
        try:
            for _ in self._call:
                pass
        except grpc.RpcError as error:
            self._error = error
        self._over.set()


def _with(options, name: str, *, factor: float):
    return tuple((key, int(value * factor) if key == name else value) for key, value in options)
