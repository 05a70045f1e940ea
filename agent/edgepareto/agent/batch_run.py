"""One batch being measured, in a thread of its own.

So it goes on, and is journalled, when the connection that asked for it is gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from edgepareto.agent import wire
from edgepareto.agent.errors import AgentError, Busy, LeaseError, Shutdown, Status
from edgepareto.agent.model_store import ModelStore
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.profiling.trace import BatchRequest, CandidateTrace, Progress
from edgepareto.agent.result_journal import FinishedBatch, ResultJournal
from edgepareto.profiler.v1 import profiler_pb2 as pb

__all__ = ["BatchRun", "ProfileBatch"]

LOOK_AGAIN_S = 1.0  # how often a waiting reader looks whether its client is still there
INTERRUPTED = frozenset({Status.LEASE_LOST, Status.AGENT_SHUTDOWN})  # verdicts of a batch cut short: no results

log = logging.getLogger(__name__)


class ProfileBatch(Protocol):
    """`edgepareto.agent.profiling.profile_batch`: the traces of a batch, anchor first, then in request order."""

    def __call__(
        self,
        request: BatchRequest,
        board: Board,
        *,
        on_progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Iterator[CandidateTrace]: ...


class BatchRun:
    """Measures `message` once. Readers follow it from its beginning, one at a time: a new reader replaces the old one.

    holds_lease: whether the batch's owner still holds the lease; without it the batch is cut short and not journalled.
    """

    def __init__(
        self,
        message: pb.ProfileRequest,
        *,
        profile_batch: ProfileBatch,
        device: wire.Device,
        board: Board,
        store: ModelStore,
        journal: ResultJournal,
        holds_lease: Callable[[], bool],
    ) -> None:
        self.request_key = message.request_key
        self.fingerprint = wire.fingerprint(message)
        self._message = message
        self._profile_batch = profile_batch
        self._device = device
        self._board = board
        self._store = store
        self._journal = journal
        self._holds_lease = holds_lease
        self._changed = threading.Condition()
        self._results: list[tuple[str, bytes]] = []
        self._progress: Progress | None = None
        self._failure: Exception | None = None
        self._outcome: FinishedBatch | None = None
        self._finished = False
        self._stopping = False
        self._lease_ended = False
        self._readers = 0
        self._thread = threading.Thread(target=self._run, name="batch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Cut the batch short and wait until its processes are gone, at most `timeout_s`."""
        self._stopping = True
        self._thread.join(timeout_s)

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def outcome(self) -> FinishedBatch | None:
        """All its results, journalled or not; None while it is measured, and where it failed."""
        return self._outcome

    def follow(self, is_wanted: Callable[[], bool]) -> Iterator[pb.ProfileEvent]:
        """Results from the first on and the latest progress, until the batch ends or its reader is not wanted any more.

        Raises what ended the batch, and Busy where another connection took the batch over.
        """
        with self._changed:
            self._readers += 1
            me = self._readers
            self._changed.notify_all()
        sent = 0
        told: Progress | None = None
        while True:
            with self._changed:
                while len(self._results) == sent and self._progress is told and not self._finished:
                    if me != self._readers:
                        raise Busy(f"another connection took batch {self.request_key} over")
                    if not is_wanted():
                        return
                    self._changed.wait(LOOK_AGAIN_S)
                fresh = self._results[sent:]
                step = self._progress
                finished = self._finished
            if step is not None and step is not told:
                yield wire.progress(step)
                told = step
            for candidate_id, data in fresh:
                yield from wire.result_chunks(candidate_id, data)
            sent += len(fresh)
            if finished:
                if self._failure is not None:
                    raise self._failure
                return

    def _run(self) -> None:
        try:
            self._measure()
        except AgentError as error:
            self._failure = error
        except Exception as error:
            log.exception("batch %s failed", self.request_key)
            self._failure = error
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _measure(self) -> None:
        with self._store.holding(wire.blob_names(self._message)) as blobs:
            request = wire.batch_request(self._message, blobs)
            traces = self._profile_batch(
                request, self._board, on_progress=self._on_progress, cancelled=self._is_cancelled
            )
            for trace in traces:
                if trace.status in INTERRUPTED:
                    break
                data = wire.result(trace, self._device).SerializeToString()
                with self._changed:
                    self._results.append((trace.spec.candidate_id, data))
                    self._changed.notify_all()
        wanted = wire.candidate_count(self._message)
        if len(self._results) == wanted:
            self._keep()
        elif self._stopping:
            raise Shutdown(f"the agent is ending; batch {self.request_key} was cut short")
        elif self._lease_ended:
            raise LeaseError(f"the lease ended while batch {self.request_key} was measured; it was cut short")
        else:
            raise RuntimeError(f"batch {self.request_key} gave {len(self._results)} results of {wanted}")

    def _keep(self) -> None:
        batch = FinishedBatch(request_key=self.request_key, fingerprint=self.fingerprint, results=tuple(self._results))
        try:
            self._journal.write(batch)
        except OSError as error:
            # The host still gets its results, from here as long as the agent lives and measures no other batch.
            log.error("batch %s could not be journalled: %s", self.request_key, error)
        self._outcome = batch

    def _on_progress(self, step: Progress) -> None:
        with self._changed:
            self._progress = step
            self._changed.notify_all()

    def _is_cancelled(self) -> bool:
        self._lease_ended = self._lease_ended or not self._holds_lease()
        return self._stopping or self._lease_ended
