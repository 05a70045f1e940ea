"""The agent's life: gRPC server, health, the state folder's lock, an orderly end."""

from __future__ import annotations

import fcntl
import ipaddress
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import grpc
from edgepareto.agent import wire
from edgepareto.agent.batch_run import ProfileBatch
from edgepareto.agent.call_share import CallShare
from edgepareto.agent.conditions import ClockFixer, ClockModes
from edgepareto.agent.credentials import CredentialFolder
from edgepareto.agent.errors import ConfigError
from edgepareto.agent.lease import LeaseBook
from edgepareto.agent.message_guard import MessageGuard, Unreadable
from edgepareto.agent.model_store import DEFAULT_QUOTA_BYTES, ModelStore
from edgepareto.agent.output_run import ComputeOutputs
from edgepareto.agent.profiling import compute_outputs
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.result_journal import ResultJournal
from edgepareto.agent.servicer import ProfilerServicer
from edgepareto.profiler.v1 import profiler_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

__all__ = ["AgentServer", "checked_address", "holding_state"]

SERVICE = "edgepareto.profiler.v1.Profiler"
METER_SERVICE = "edgepareto.meter"  # unknown to health where the board has none; not serving where it is silent
WORKER_THREADS = 8  # one reader of a batch, uploads, lease and health calls; each idle thread costs memory
LARGEST_MESSAGE_BYTES = 2 << 20  # hosts send models in pieces of at most 1 MiB
CONNECTION_AGE_MS = 300_000  # then a connection is made anew, and judged by the credentials as they are by now
STOP_GRACE_S = 1.0
BATCH_END_S = 8.0  # in which a running batch kills its workers; a window of 5 s may have to end first
STATE_WAIT_S = 10.0  # an agent whose host was killed needs a moment to end

OPTIONS = (
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # the default cuts a 10 s pinger off after 30 s
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),  # a half-open connection must not hold a thread for two hours
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.server_handshake_timeout_ms", 20_000),  # a stranger that connects and says nothing
    ("grpc.so_reuseport", 0),  # a second agent on the same port must fail, not take half of the calls
    ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
    # Else the window grows with the connection's speed, and a fast host's upload takes 30 MB more, at the same speed.
    ("grpc.http2.bdp_probe", 0),
)


class AgentServer:
    """Serves one board from `start` to `stop`. state: folder of its blobs and journal, one agent per folder.

    Raises ConfigError where that folder cannot be used.
    clocks: to be fixed while a lease is held; None: they stay as they are. credentials: with them every call but health
    is taken over mutual TLS alone; None: only this machine's own addresses are listened on.
    """

    def __init__(
        self,
        *,
        device: wire.Device,
        board: Board,
        state: Path,
        profile_batch: ProfileBatch,
        compute_outputs: ComputeOutputs = compute_outputs,
        blob_quota_bytes: int = DEFAULT_QUOTA_BYTES,
        clocks: ClockFixer | None = None,
        credentials: CredentialFolder | None = None,
    ) -> None:
        self._credentials = credentials
        self._leases = _lease_book(clocks, board.clock_modes)
        self._meter = device.meter
        with _telling_of(state):
            store, journal = ModelStore(state / "blobs", blob_quota_bytes), ResultJournal(state / "journal")
        self._servicer = ProfilerServicer(
            device=device,
            board=board,
            store=store,
            journal=journal,
            leases=self._leases,
            profile_batch=profile_batch,
            compute_outputs=compute_outputs,
            over_tls=credentials is not None,
        )
        # As many calls as threads: one too many is refused at once instead of waiting in a queue nobody sees.
        self._server = grpc.server(
            ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="rpc"),
            options=OPTIONS if credentials is None else (*OPTIONS, ("grpc.max_connection_age_ms", CONNECTION_AGE_MS)),
            maximum_concurrent_rpcs=WORKER_THREADS,
            interceptors=(CallShare(), MessageGuard()),
        )
        self._health = _Health()
        profiler_pb2_grpc.add_ProfilerServicer_to_server(self._servicer, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def start(self, address: str) -> str:
        """Listen; returns the address with the port that was taken (port 0 takes any). Raises ConfigError."""
        address = checked_address(address, secured=self._credentials is not None)
        port = self._listen(address)
        self._server.start()
        for service in ("", SERVICE):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        if self._meter is not None:
            answers = self._meter.fault is None
            status = health_pb2.HealthCheckResponse
            self._health.set(METER_SERVICE, status.SERVING if answers else status.NOT_SERVING)
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"

    def answers_on(self, private_socket: Path, *, timeout_s: float) -> Callable[[], bool]:
        """To be called before `start`: listens there as well, for the agent to ask itself whether it still answers."""
        target = f"unix:{private_socket}"
        self._server.add_insecure_port(checked_address(target, secured=False))
        return lambda: _answers(target, timeout_s)

    def _listen(self, address: str) -> int:
        try:
            if self._credentials is None:
                return int(self._server.add_insecure_port(address))
            return int(self._server.add_secure_port(address, self._credentials.server_credentials()))
        except RuntimeError as error:
            raise ConfigError(
                f"cannot listen on {address}: it is in use or not ours; choose another --listen"
            ) from error

    def stop(self) -> None:
        """Cut a running batch short, answer who waits for it, and end. The batch is not journalled."""
        self._health.enter_graceful_shutdown()
        self._servicer.stop(BATCH_END_S)
        self._server.stop(STOP_GRACE_S).wait()
        self._leases.close()


def _lease_book(clocks: ClockFixer | None, modes: ClockModes | None) -> LeaseBook:
    """A batch's mode was set over the fixed clocks, so it is put back before them, also where the lease ends first; and
    before they are fixed, where a batch whose lease has ended set it just now."""
    if clocks is None:
        return LeaseBook()
    if modes is None:
        return LeaseBook(on_held=clocks.fix, on_free=clocks.restore)
    return LeaseBook(
        on_held=partial(modes.release, then=clocks.fix), on_free=partial(modes.release, then=clocks.restore)
    )


class _Health(health.HealthServicer):  # type: ignore[misc]
    """Answers anyone whom TLS let in, without a role, so that a board can be monitored; but keeps no call open."""

    def __init__(self) -> None:
        super().__init__(experimental_non_blocking=False)

    def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest | Unreadable, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if isinstance(request, Unreadable):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the bytes that came are no HealthCheckRequest")
        return super().Check(request, context)

    def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "ask again with Check: a watcher would hold a thread for ever")
        yield  # never reached: makes this the stream that it must be


def _answers(target: str, timeout_s: float) -> bool:
    """Also where it has no thread to spare, which is an answer."""
    with grpc.insecure_channel(target) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def checked_address(address: str, *, secured: bool) -> str:
    """An address that an agent may listen on; secured: it has credentials. Raises ConfigError."""
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        if not path.is_absolute() or not path.parent.is_dir():
            raise ConfigError(f"cannot listen on {address}: it must be an absolute path in a folder that exists")
        if path.parent.stat().st_mode & 0o077:
            raise ConfigError(f"cannot listen on {address}: others may enter its folder; chmod 700 {path.parent}")
        return address
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"cannot listen on {address}: wanted HOST:PORT or unix:/path")
    if not secured and not _is_loopback(host.strip("[]")):
        raise ConfigError(
            f"refusing to listen on {address}: without credentials anyone who reaches it could use this board; "
            f"use 127.0.0.1:{port}"
        )
    return address


@contextmanager
def holding_state(state: Path) -> Iterator[None]:
    """One agent per state folder. Raises ConfigError where it is not usable, or still another's after a moment."""
    with _telling_of(state):
        state.mkdir(parents=True, exist_ok=True)
        file = (state / "lock").open("w")
    with file as lock:
        deadline = time.monotonic() + STATE_WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ConfigError(f"another agent uses the state folder {state}; end it or pass --state") from error
                time.sleep(0.05)
        yield


@contextmanager
def _telling_of(state: Path) -> Iterator[None]:
    """Raises ConfigError where the folder cannot be used."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{error.filename or state} cannot be used: {error.strerror}; the agent's user must be able to "
            "write there, or pass another --state"
        ) from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
