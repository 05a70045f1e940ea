"""A model's outputs being computed for one call, in a thread of its own.

So a reader that stands still keeps a thread of gRPC's waiting, and neither a worker nor the board.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Protocol

from edgepareto.agent import wire
from edgepareto.agent.errors import AgentError, Busy, LeaseError, Shutdown
from edgepareto.agent.model_store import ModelStore
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.profiling.outputs import OutputsDone, OutputsPiece, OutputsProgress, OutputsRequest
from edgepareto.profiler.v1 import profiler_pb2 as pb

__all__ = ["ComputeOutputs", "OutputRun"]

LOOK_AGAIN_S = 0.2  # how often a wait looks whether it is still of use
AHEAD = 4  # events, of at most 1 MiB, that wait for their reader
STALLED_S = 60.0  # a reader that takes nothing for so long is gone

log = logging.getLogger(__name__)


class ComputeOutputs(Protocol):
    """`edgepareto.agent.profiling.compute_outputs`."""

    def __call__(
        self, request: OutputsRequest, board: Board, *, cancelled: Callable[[], bool]
    ) -> Generator[OutputsProgress | OutputsPiece | OutputsDone, None, None]: ...


class OutputRun:
    """Answers `message` once, to one reader. It ends when the reader is not there any more.

    holds_lease: whether its owner still holds the lease; without it the run is cut short. is_wanted: by its reader; any
    thread may ask both.
    """

    def __init__(
        self,
        message: pb.ComputeOutputsRequest,
        *,
        compute_outputs: ComputeOutputs,
        board: Board,
        store: ModelStore,
        holds_lease: Callable[[], bool],
        is_wanted: Callable[[], bool],
    ) -> None:
        self._message = message
        self._compute_outputs = compute_outputs
        self._board = board
        self._store = store
        self._holds_lease = holds_lease
        self._is_wanted = is_wanted
        self._events: queue.Queue[pb.ComputeOutputsEvent] = queue.Queue(AHEAD)
        self._failure: Exception | None = None
        self._finished = False
        self._stopping = False
        self._lease_ended = False
        self._thread = threading.Thread(target=self._run, name="outputs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Cut it short and wait until its process is gone, at most `timeout_s`."""
        self._stopping = True
        self._thread.join(timeout_s)

    @property
    def finished(self) -> bool:
        return self._finished

    def follow(self) -> Iterator[pb.ComputeOutputsEvent]:
        """Everything, until it ends or its reader is not wanted any more. Raises what ended it."""
        while True:
            was_finished = self._finished  # looked at first: what is put before it ends is taken below
            try:
                yield self._events.get(timeout=0 if was_finished else LOOK_AGAIN_S)
                continue
            except queue.Empty:
                pass
            if was_finished:
                if self._failure is not None:
                    raise self._failure
                return
            if not self._is_wanted():
                return

    def _run(self) -> None:
        try:
            self._answer()
        except AgentError as error:
            self._failure = error
        except Exception as error:
            log.exception("outputs of %s failed", self._message.model_sha256)
            self._failure = error
        finally:
            self._finished = True

    def _answer(self) -> None:
        """Raises LeaseError, Shutdown, Busy, and what makes the request none."""
        with self._store.holding(wire.outputs_blob_names(self._message)) as blobs:
            request = wire.outputs_request(self._message, blobs)
            events = self._compute_outputs(request, self._board, cancelled=self._is_cancelled)
            with closing(events):
                for event in events:
                    self._put(wire.outputs_event(event))
                    if self._is_cancelled():
                        break
        if self._stopping:
            raise Shutdown("the agent is ending; the outputs were not computed to their end")
        if self._lease_ended:
            raise LeaseError("the lease ended while outputs were computed; they were cut short")

    def _put(self, event: pb.ComputeOutputsEvent) -> None:
        """Waits for the reader; an event that nobody wants any more is dropped. Raises Busy."""
        until_s = time.monotonic() + STALLED_S
        while not self._is_cancelled() and not self._was_put(event):
            if time.monotonic() > until_s:
                raise Busy(f"the outputs' reader took nothing for {STALLED_S:.0f} s; ask again")

    def _was_put(self, event: pb.ComputeOutputsEvent) -> bool:
        try:
            self._events.put(event, timeout=LOOK_AGAIN_S)
        except queue.Full:
            return False
        return True

    def _is_cancelled(self) -> bool:
        self._lease_ended = self._lease_ended or not self._holds_lease()
        return self._stopping or self._lease_ended or not self._is_wanted()
