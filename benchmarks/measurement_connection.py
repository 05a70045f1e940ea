"""T21: a quiet stream with the host's 10 s pings outlives ten minutes; a server with gRPC's defaults cuts it off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import grpc
from edgepareto.host.domain import DeviceName
from edgepareto.host.fleet import wire
from edgepareto.host.fleet.blobs import sha256_of, upload_missing
from edgepareto.host.fleet.channel import open_channel, open_stub
from edgepareto.host.fleet.lease import HeldLease
from edgepareto.host.fleet.line import Line
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from measurement_agent import running_agent
from measurement_models import conv_net, written
from measurement_verdict import Verdict

__all__ = ["quiet_stream"]

CONTROL_S = 120.0  # gRPC's default server is said to cut a 10 s pinger off after 30 s
MARGIN_S = 15.0
PACE = 10_000  # times slower than real: its first step takes hours

Dial = Callable[[grpc.Channel, float], Iterator[object]]


def quiet_stream(seconds: float) -> list[Verdict]:
    """The stream of a batch whose first step takes hours, held open for that long."""
    with TemporaryDirectory(prefix="ep-quiet-") as scratch, ThreadPoolExecutor(1) as pool:
        folder = Path(scratch)
        control = pool.submit(_control, folder / "control.sock")
        flags = ["--simulate", "raspberry-pi-4b", "--pace", str(PACE)]
        with running_agent(flags, folder) as agent, _batch(agent.address, folder / "models") as profile:
            lasted, end = _watch(agent.address, seconds, profile)
        cut_after, cut = control.result()
    return [
        Verdict(
            check="T21 quiet stream, 10 s pings",
            seen=f"alive after {lasted / 60:.1f} min" if end is None else f"cut after {lasted:.0f} s: {end}",
            bar=f"{seconds / 60:.0f} min",
            passed=end is None,
        ),
        Verdict(
            check="T21 the same, a server with gRPC's defaults",
            seen=f"cut after {cut_after:.0f} s: {cut}" if cut else f"alive after {cut_after:.0f} s",
            bar="is cut off",
            passed=cut is not None,
        ),
    ]


@contextmanager
def _batch(target: str, folder: Path) -> Iterator[Dial]:
    """Asks for it, its lease held over another connection."""
    folder.mkdir()
    model = written(conv_net(8, size=8, layers=2, seed=0), "m0", folder)
    batch = model.batch("quiet", [], number=0)
    line = Line(lambda: open_channel(target))
    lease = HeldLease(line, DeviceName("quiet"), "benchmark")
    lease.acquire(cancelled=Event(), tell=lambda text: None)
    files = {path: sha256_of(path) for path in (batch.inputs, batch.anchor.model, batch.anchor.expected_outputs)}
    upload_missing(line.stub, lease.id, {digest: path for path, digest in files.items()})
    try:
        yield lambda channel, timeout_s: open_stub(channel).Profile(
            wire.profile_request(batch, files, lease.id), timeout=timeout_s
        )
    finally:
        lease.release()
        line.close()


def _health(channel: grpc.Channel, timeout_s: float) -> Iterator[object]:
    """One word at its beginning, then nothing."""
    stub = health_pb2_grpc.HealthStub(channel)
    return stub.Watch(health_pb2.HealthCheckRequest(), timeout=timeout_s)


def _watch(target: str, seconds: float, dial: Dial) -> tuple[float, str | None]:
    """How long a stream of the host's channel lasted, and what ended it before that many seconds: None, nothing."""
    started = time.monotonic()
    with open_channel(target) as channel:
        try:
            for _ in dial(channel, seconds):
                pass
        except grpc.RpcError as error:
            lasted = time.monotonic() - started
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                return lasted, f"{error.code().name}, {error.details()}"
            # The stream's own deadline, on a connection that still answers.
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=MARGIN_S)
            return lasted, None
    return time.monotonic() - started, "the server ended it"


def _control(socket: Path) -> tuple[float, str | None]:
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        return _watch(f"unix:{socket}", CONTROL_S, _health)
    finally:
        server.stop(None)
