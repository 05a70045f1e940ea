"""What one certificate may have of the agent's few threads, so that no host keeps every other owner out.

Counted before a call's first message, which a client may never send: gRPC waits for it on the call's own thread.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from edgepareto.agent.credentials import caller_of

__all__ = ["CALLS_AT_ONCE", "CallShare"]

CALLS_AT_ONCE = 5  # a host has three: a batch, an upload, its lease; and two for another command of its user


class CallShare(grpc.ServerInterceptor):  # type: ignore[misc]
    """For every call of every service over TLS. Without it all are this machine's own, and nobody is told apart."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()  # by certificate

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401  # gRPC's handler has no type that may be named
        handler = continuation(handler_call_details)
        if handler is None:
            return None  # unknown to us: gRPC says so
        answer = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        taken = _all_messages if handler.request_streaming else _only_message

        def one(messages: Iterator[object], context: grpc.ServicerContext) -> object:
            with self._counted(context):
                return answer(taken(messages, context), context)

        def many(messages: Iterator[object], context: grpc.ServicerContext) -> Iterator[object]:
            with self._counted(context):
                yield from answer(taken(messages, context), context)

        wire = (handler.request_deserializer, handler.response_serializer)
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(many, *wire)
        return grpc.stream_unary_rpc_method_handler(one, *wire)

    @contextmanager
    def _counted(self, context: grpc.ServicerContext) -> Iterator[None]:
        caller = caller_of(context)
        if caller.is_local:
            yield
            return
        with self._lock:
            is_allowed = self._open[caller.fingerprint] < CALLS_AT_ONCE
            self._open[caller.fingerprint] += is_allowed
        if not is_allowed:
            context.abort(
                grpc.StatusCode.ABORTED,  # which hosts take as: ask again later
                f"{caller.common_name[:80]!r} has {CALLS_AT_ONCE} calls open on this board already; try again when one "
                "of them ends",
            )
        try:
            yield
        finally:
            with self._lock:
                self._open[caller.fingerprint] -= 1
                if not self._open[caller.fingerprint]:
                    del self._open[caller.fingerprint]


def _all_messages(messages: Iterator[object], context: grpc.ServicerContext) -> Iterator[object]:
    return messages


def _only_message(messages: Iterator[object], context: grpc.ServicerContext) -> object:
    for message in messages:
        return message
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call ended before its message came")
    return None  # never reached
