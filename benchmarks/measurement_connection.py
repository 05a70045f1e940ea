"""T21: a quiet stream with the host's 10 s pings outlives ten minutes; a server with gRPC's defaults cuts it off."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from edgepareto.host.fleet.channel import open_channel
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from measurement_agent import running_agent
from measurement_verdict import Verdict

__all__ = ["quiet_stream"]

CONTROL_S = 120.0  # gRPC's default server is said to cut a 10 s pinger off after 30 s
MARGIN_S = 15.0


def quiet_stream(seconds: float) -> list[Verdict]:
    """A health watch, which says one word at its beginning and then nothing, held open for that long."""
    with TemporaryDirectory(prefix="ep-quiet-") as scratch, ThreadPoolExecutor(1) as pool:
        folder = Path(scratch)
        control = pool.submit(_control, folder / "control.sock")
        with running_agent(["--simulate", "raspberry-pi-4b"], folder) as agent:
            lasted, end = _watch(agent.address, seconds)
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


def _watch(target: str, seconds: float) -> tuple[float, str | None]:
    """How long a stream of the host's channel lasted, and what ended it before that many seconds: None, nothing."""
    started = time.monotonic()
    with open_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            for _ in stub.Watch(health_pb2.HealthCheckRequest(), timeout=seconds):
                pass
        except grpc.RpcError as error:
            lasted = time.monotonic() - started
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                return lasted, f"{error.code().name}, {error.details()}"
            # The stream's own deadline, on a connection that still answers.
            stub.Check(health_pb2.HealthCheckRequest(), timeout=MARGIN_S)
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
        return _watch(f"unix:{socket}", CONTROL_S)
    finally:
        server.stop(None)
