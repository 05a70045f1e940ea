"""The host's connection to one agent, which is dialled anew after a cut."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from edgepareto.host.fleet.channel import open_stub
from edgepareto.profiler.v1 import profiler_pb2_grpc

__all__ = ["Line"]


class Line:
    """dial: opens a channel, or refuses with Unreachable, Refused or another DeviceError.

    Other threads may use `stub`: what they have in flight when the line is dialled anew ends as CANCELLED.
    """

    def __init__(self, dial: Callable[[], grpc.Channel]) -> None:
        self._dial = dial
        self._closed = False
        self._channel = dial()
        self._stub = open_stub(self._channel)

    @property
    def stub(self) -> profiler_pb2_grpc.ProfilerStub:
        """A ValueError of its calls says that the line was closed, or just dialled anew."""
        return self._stub

    def redial(self) -> None:
        """Another channel: an old one waits ever longer between its own attempts, up to two minutes."""
        before, self._channel = self._channel, self._dial()
        self._stub = open_stub(self._channel)
        before.close()
        if self._closed:  # meanwhile, by another thread
            self._channel.close()

    def close(self) -> None:
        """For good. Idempotent."""
        self._closed = True
        self._channel.close()
