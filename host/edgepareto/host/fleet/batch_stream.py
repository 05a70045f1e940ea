"""One batch asked for and heard to its end, joined again as long as it gets on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc
from edgepareto.host.domain import Batch, DeviceName, ProfileTrace
from edgepareto.host.errors import DeviceLost
from edgepareto.host.fleet import wire
from edgepareto.host.fleet.line import Line
from edgepareto.profiler.v1 import profiler_pb2 as pb

__all__ = ["Answer", "follow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """traces: the anchor's first, then in order. from_journal: it had been measured before it was asked for."""

    traces: tuple[ProfileTrace, ...]
    from_journal: bool


def follow(
    line: Line,
    device: DeviceName,
    batch: Batch,
    request: pb.ProfileRequest,
    *,
    step_deadline_s: float,
    on_step: Callable[[str], None],
) -> Answer:
    """Raises grpc.RpcError, and DeviceLost where a step takes longer than its deadline or the answer is not one.

    on_step: each step once, in words.
    """
    newest = pb.Progress()

    def on_progress(step: pb.Progress) -> None:
        nonlocal newest
        if step != newest:  # a batch that is joined again tells its latest step again
            newest = step
            on_step(wire.progress_text(step))

    while True:
        known = newest
        try:
            return _join(line, device, batch, request, step_deadline_s, on_progress)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            if newest == known:
                at = wire.progress_text(newest)
                raise DeviceLost(f"{device}: its batch stands still at {at!r} for {step_deadline_s:.0f} s") from error


def _join(
    line: Line,
    device: DeviceName,
    batch: Batch,
    request: pb.ProfileRequest,
    timeout_s: float,
    on_progress: Callable[[pb.Progress], None],
) -> Answer:
    traces: list[ProfileTrace] = []
    data = bytearray()
    done: pb.BatchDone | None = None
    call = line.stub.Profile(request, timeout=timeout_s)
    try:
        for event in call:
            kind = event.WhichOneof("event")
            if kind == "progress":
                on_progress(event.progress)
            elif kind == "result_chunk":
                data += event.result_chunk.data
                if event.result_chunk.last:
                    traces.append(wire.profile_trace(bytes(data), device))
                    data.clear()
            elif kind == "done":
                done = event.done
    except ValueError as error:
        raise DeviceLost(f"{device}: {error}") from error
    finally:
        call.cancel()
    wanted = [batch.anchor.candidate, *(entry.candidate for entry in batch.entries)]
    answered = [trace.candidate for trace in traces]
    if done is None or answered != wanted:
        raise DeviceLost(f"{device}: batch {batch.request_key} asked for {wanted}, answered {answered}")
    return Answer(traces=tuple(traces), from_journal=done.from_journal)
