"""Requests -> batches -> replies. Every refusal becomes a gRPC status in one table."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import grpc
from edgepareto.agent import wire
from edgepareto.agent.batch_run import BatchRun, ProfileBatch
from edgepareto.agent.credentials import HOST_ROLE, Caller, caller_of
from edgepareto.agent.errors import (
    AgentError,
    Busy,
    LeaseError,
    MissingBlob,
    NoRoom,
    NotAHost,
    ProtocolMismatch,
    RequestError,
    Shutdown,
    UnknownResult,
    UploadCorrupt,
    UploadStalled,
)
from edgepareto.agent.lease import LeaseBook, Owner
from edgepareto.agent.message_guard import Unreadable, readable_message
from edgepareto.agent.model_store import ModelStore
from edgepareto.agent.output_run import ComputeOutputs, OutputRun
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.result_journal import FinishedBatch, ResultJournal
from edgepareto.agent.upload_stream import UploadStream
from edgepareto.profiler.v1 import profiler_pb2 as pb
from edgepareto.profiler.v1 import profiler_pb2_grpc
from google.protobuf.message import Message

__all__ = ["GRPC_STATUS", "ProfilerServicer"]

UPLOADS_AT_ONCE = 2  # each takes a thread and a few megabytes; a host sends one after the other

# What a host can do differently, as a status code; the words are the error's own.
GRPC_STATUS: dict[type[AgentError], grpc.StatusCode] = {
    ProtocolMismatch: grpc.StatusCode.FAILED_PRECONDITION,  # install the same release
    RequestError: grpc.StatusCode.INVALID_ARGUMENT,  # a bug, or another batch under a used key
    UploadCorrupt: grpc.StatusCode.DATA_LOSS,  # send it again
    NoRoom: grpc.StatusCode.RESOURCE_EXHAUSTED,  # make room
    MissingBlob: grpc.StatusCode.NOT_FOUND,  # upload, then ask again
    UnknownResult: grpc.StatusCode.NOT_FOUND,  # have it measured
    UploadStalled: grpc.StatusCode.DEADLINE_EXCEEDED,  # send it again
    NotAHost: grpc.StatusCode.PERMISSION_DENIED,  # come with a host's certificate
    LeaseError: grpc.StatusCode.PERMISSION_DENIED,  # acquire the lease again
    Busy: grpc.StatusCode.ABORTED,  # ask again later
    Shutdown: grpc.StatusCode.UNAVAILABLE,  # the agent is ending
}

log = logging.getLogger(__name__)


class ProfilerServicer(profiler_pb2_grpc.ProfilerServicer):
    """The wire contract's service. Thread-safe; one batch, or one model's outputs, at a time.

    over_tls: whoever calls must have a host's certificate; its fingerprint is who it is, whatever it calls itself.
    Else everyone is who it says, which is good enough on one machine.
    """

    def __init__(
        self,
        *,
        device: wire.Device,
        board: Board,
        store: ModelStore,
        journal: ResultJournal,
        leases: LeaseBook,
        profile_batch: ProfileBatch,
        compute_outputs: ComputeOutputs,
        over_tls: bool,
    ) -> None:
        self._over_tls = over_tls
        self._device = device
        self._board = board
        self._store = store
        self._journal = journal
        self._leases = leases
        self._profile_batch = profile_batch
        self._compute_outputs = compute_outputs
        self._lock = threading.Lock()
        self._run: BatchRun | None = None
        self._output_run: OutputRun | None = None
        self._ending = False
        self._uploads = threading.Semaphore(UPLOADS_AT_ONCE)

    def stop(self, timeout_s: float) -> None:
        """Start no batch any more and cut the running one short; its processes are gone when this returns in time."""
        with self._lock:
            self._ending = True
            running = (self._run, self._output_run)
        for run in running:
            if run is not None and not run.finished:
                run.stop(timeout_s)

    def GetDeviceInfo(self, request: pb.GetDeviceInfoRequest, context: grpc.ServicerContext) -> pb.DeviceInfo:  # noqa: N802
        with self._answering(context, request):
            version = wire.spoken_version(request)
            return wire.device_info(self._device, version=version, holder=self._leases.holder())

    def AcquireLease(self, request: pb.AcquireLeaseRequest, context: grpc.ServicerContext) -> pb.Lease:  # noqa: N802
        with self._answering(context, request) as caller:
            owner = Owner(name=_named(request.owner, caller), fingerprint=caller.fingerprint)
            return wire.lease(self._leases.acquire(owner, request.ttl_s, wait=request.wait))

    def RenewLease(self, request: pb.RenewLeaseRequest, context: grpc.ServicerContext) -> pb.Lease:  # noqa: N802
        with self._answering(context, request) as caller:
            return wire.lease(self._leases.renew(request.lease_id, caller.fingerprint, request.ttl_s))

    def ReleaseLease(  # noqa: N802
        self, request: pb.ReleaseLeaseRequest, context: grpc.ServicerContext
    ) -> pb.ReleaseLeaseResponse:
        with self._answering(context, request) as caller:
            self._leases.release(request.lease_id, caller.fingerprint)
            return pb.ReleaseLeaseResponse()

    def Unlock(self, request: pb.UnlockRequest, context: grpc.ServicerContext) -> pb.UnlockResponse:  # noqa: N802
        with self._answering(context, request) as caller:
            by = _named(request.by, caller)
            ended = self._leases.unlock(by)
            if ended is not None:
                log.info("the lease of %s was ended by %s", ended.owner.name, by)
            return wire.unlocked(ended)

    def HasBlobs(self, request: pb.HasBlobsRequest, context: grpc.ServicerContext) -> pb.HasBlobsResponse:  # noqa: N802
        with self._answering(context, request):
            return pb.HasBlobsResponse(missing_sha256=self._store.missing(request.sha256))

    def UploadBlob(  # noqa: N802
        self, request_iterator: Iterator[pb.UploadBlobRequest], context: grpc.ServicerContext
    ) -> pb.UploadBlobResponse:
        with closing(UploadStream(request_iterator)) as upload, self._answering(context) as caller:
            header = upload.header()
            self._leases.owner_of(header.lease_id, caller.fingerprint)
            if not self._uploads.acquire(blocking=False):
                raise Busy(f"the board is taking {UPLOADS_AT_ONCE} uploads already; send this one after them")
            try:
                self._store.add(header.sha256, header.size_bytes, upload.chunks(header.size_bytes))
            finally:
                self._uploads.release()
            return pb.UploadBlobResponse(sha256=header.sha256, size_bytes=header.size_bytes)

    def Profile(self, request: pb.ProfileRequest, context: grpc.ServicerContext) -> Iterator[pb.ProfileEvent]:  # noqa: N802
        with self._answering(context, request) as caller:
            found = self._find_or_start(request, caller.fingerprint)
            if isinstance(found, FinishedBatch):
                yield from _finished(found)
                return
            yield from found.follow(context.is_active)
            yield pb.ProfileEvent(done=pb.BatchDone(request_key=request.request_key, from_journal=False))

    def FetchResult(  # noqa: N802
        self, request: pb.FetchResultRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ProfileEvent]:
        # Whose batch it was does not count, only its key: numbers of a board are no secret from those who may use it,
        # and a host must get its own also after its certificate was renewed.
        with self._answering(context, request):
            batch = self._journal.read(request.request_key)
            if batch is None:
                raise UnknownResult(f"no finished batch under the request key {request.request_key}")
            yield from _finished(batch)

    def ComputeOutputs(  # noqa: N802
        self, request: pb.ComputeOutputsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ComputeOutputsEvent]:
        with self._answering(context, request) as caller:
            yield from self._start_outputs(request, caller.fingerprint, context.is_active).follow()

    @contextmanager
    def _answering(
        self, context: grpc.ServicerContext, request: Message | Unreadable | None = None
    ) -> Iterator[Caller]:
        """Who calls, once it may and its request is within bounds. Our errors leave as the table says; a bug leaves as
        INTERNAL with one line, its traceback goes to the log."""
        try:
            caller = caller_of(context)
            if caller.is_local and self._over_tls:
                raise NotAHost("this agent has credentials, so without TLS it answers nothing but its health")
            if not (caller.is_local or caller.is_host):
                raise NotAHost(
                    f"a certificate named {caller.common_name[:80]!r} may not use this board, wanted a host's "
                    f"({HOST_ROLE}USER@MACHINE); a board's own is for answering, not for asking"
                )
            if request is not None:
                wire.check_bounds(readable_message(request))
            yield caller
        except AgentError as error:
            refusal = (GRPC_STATUS.get(type(error), grpc.StatusCode.INTERNAL), str(error))
        except Exception as error:
            log.exception("a request failed")
            refusal = (grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}; see the agent's log")
        else:
            return
        context.abort(*refusal)

    def _find_or_start(self, request: pb.ProfileRequest, caller: str) -> FinishedBatch | BatchRun:
        """The finished batch of this key, the running one, or a new one. Held together by one lock, so that a key whose
        batch ends between two looks is not measured twice."""
        owner = self._leases.owner_of(request.lease_id, caller)
        wire.check_threads(request, self._device)
        wire.check_clock_mode(request, self._device)
        fingerprint = wire.fingerprint(request)
        with self._lock:
            finished = self._journal.read(request.request_key, fingerprint)
            if finished is not None:
                return finished
            run = self._run
            if run is None or run.finished or run.request_key != request.request_key:
                self._check_idle()
            # A finished one is still here where the disk was too full for the journal.
            if run is not None and run.request_key == request.request_key and (not run.finished or run.outcome):
                if run.fingerprint != fingerprint:
                    raise RequestError(f"request key {request.request_key} is being used for another batch")
                return run.outcome or run
            fresh = BatchRun(
                request,
                profile_batch=self._profile_batch,
                device=self._device,
                board=self._board,
                store=self._store,
                journal=self._journal,
                holds_lease=lambda: self._leases.is_held_by(owner),
            )
            fresh.start()  # may fail where the board has no thread to spare, and must not block the next one then
            self._run = fresh
            return fresh

    def _start_outputs(
        self, request: pb.ComputeOutputsRequest, caller: str, is_wanted: Callable[[], bool]
    ) -> OutputRun:
        owner = self._leases.owner_of(request.lease_id, caller)
        wire.check_threads(request, self._device)
        with self._lock:
            self._check_idle()
            run = OutputRun(
                request,
                compute_outputs=self._compute_outputs,
                board=self._board,
                store=self._store,
                holds_lease=lambda: self._leases.is_held_by(owner),
                is_wanted=is_wanted,
            )
            run.start()  # see _find_or_start
            self._output_run = run
            return run

    def _check_idle(self) -> None:
        """Whether something new may begin. Raises Shutdown, Busy."""
        if self._ending:
            raise Shutdown("the agent is ending and takes no more batches")
        if self._run is not None and not self._run.finished:
            raise Busy(f"the board is measuring batch {self._run.request_key}; one batch at a time")
        if self._output_run is not None and not self._output_run.finished:
            raise Busy("the board is computing a model's outputs; one batch at a time")


def _named(told: str, caller: Caller) -> str:
    """What a caller calls itself, never without the name that its certificate gives it."""
    if caller.is_local:
        return told
    certified = caller.common_name.removeprefix(HOST_ROLE)
    if not told:
        return certified
    if told == certified or told.startswith(f"{certified} "):
        return told
    return f"{certified} as {told}"


def _finished(batch: FinishedBatch) -> Iterator[pb.ProfileEvent]:
    for candidate_id, data in batch.results:
        yield from wire.result_chunks(candidate_id, data)
    yield pb.ProfileEvent(done=pb.BatchDone(request_key=batch.request_key, from_journal=True))
