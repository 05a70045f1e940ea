"""What is no message of the contract reaches the servicer as a value, so that it is answered in words.

Left to gRPC (1.85), each such message would log a traceback and keep 16 kB of memory for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from edgepareto.agent.errors import RequestError
from google.protobuf.message import DecodeError, Message

__all__ = ["MessageGuard", "Unreadable", "readable_message"]


class Unreadable:
    """In the place of a request whose bytes could not be read."""


def readable_message(request: Message | Unreadable) -> Message:
    """Raises RequestError."""
    if isinstance(request, Unreadable):
        raise RequestError(
            "the bytes that came are no message of this call; install the same edgepareto release on both"
        )
    return request


class MessageGuard(grpc.ServerInterceptor):  # type: ignore[misc]
    """For every call of every service."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401  # gRPC's handler has no type that may be named
        handler = continuation(handler_call_details)
        if handler is None:
            return None  # unknown to us: gRPC says so
        return handler._replace(request_deserializer=_guarded(handler.request_deserializer))


def _guarded(deserialize: Callable[[bytes], Message]) -> Callable[[bytes], Message | Unreadable]:
    def read(data: bytes) -> Message | Unreadable:
        try:
            return deserialize(data)
        except DecodeError:
            return Unreadable()

    return read
