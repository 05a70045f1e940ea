"""The host's hold on a board: waited for, taken, renewed by a thread, given back at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import grpc
from edgepareto.host.domain import DeviceName
from edgepareto.host.errors import DeviceError, Unreachable
from edgepareto.host.fleet.channel import CALL_DEADLINE_S, reason
from edgepareto.host.fleet.line import Line
from edgepareto.host.fleet.patience import SYSTEM_TIME, ServiceTime
from edgepareto.profiler.v1 import profiler_pb2 as pb

__all__ = ["WAIT_S", "HeldLease"]

TTL_S = 30  # a host that died frees the board, and ends its batch, after this
RENEW_EVERY_S = TTL_S / 3
POLL_S = 2.0  # an agent forgets who waits after 6 s without asking
WAIT_S = 120.0  # in line for a board; longer than a dead host's lease
TRANSPORT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)

log = logging.getLogger(__name__)


class HeldLease:
    """One board's lease from `acquire` to `release`. Thread-safe."""

    def __init__(self, line: Line, device: DeviceName, owner: str, *, time: ServiceTime = SYSTEM_TIME) -> None:
        self._line = line
        self._device = device
        self._owner = owner
        self._time = time
        self._lease_id = ""
        self._unlocked_by: str | None = None
        self._lock = threading.Lock()  # so that no lease is taken while the last one is given back
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease {device}", daemon=True)

    @property
    def id(self) -> str:
        return self._lease_id

    def acquire(self, *, cancelled: threading.Event, wait_s: float = WAIT_S, tell: Callable[[str], None]) -> None:
        """Take the lease, or take it again: the same owner's own lease is given at once. Another's is waited for in
        line, at most `wait_s` and a call, and `tell` says who has it and our place as often as that changes.

        Raises Unreachable, and DeviceError where the board stays held, was unlocked from us, or `cancelled` is set.
        """
        deadline_s = self._time.now_s() + wait_s
        told = ""
        while True:
            # Who waits for nothing leaves no place in line behind: the board would be kept for it, and from everybody.
            answer = self._ask(wait=wait_s > 0)
            if answer.granted:
                return
            if self._time.now_s() >= deadline_s:
                raise DeviceError(self._held_too_long(answer, wait_s))
            place = _place(answer)
            if place != told:
                told = place
                tell(place)
            if self._time.wait(cancelled, POLL_S):
                raise DeviceError(f"{self._device}: is not waited for any more")

    def renew(self) -> bool:
        """Whether it is still the same lease, so that a batch under it went on. Raises Unreachable, DeviceError."""
        try:
            answer = self._line.stub.RenewLease(
                pb.RenewLeaseRequest(lease_id=self._lease_id, ttl_s=TTL_S), timeout=CALL_DEADLINE_S
            )
        except grpc.RpcError as error:
            raise self._failed(error) from error
        except ValueError as error:
            raise Unreachable(f"{self._device}: its connection was closed") from error
        self._heed_unlock(answer)
        return bool(answer.granted)

    def release(self) -> None:
        """Give the lease back; a batch that still runs under it is cut short. An agent that is gone is no error."""
        self._released.set()
        with self._lock:
            if not self._lease_id:
                return
            request = pb.ReleaseLeaseRequest(lease_id=self._lease_id)
            try:
                self._line.stub.ReleaseLease(request, timeout=CALL_DEADLINE_S)
            except grpc.RpcError as error:
                log.debug("%s: the lease could not be given back: %s", self._device, reason(error))
            except ValueError:
                log.debug("%s: the lease could not be given back: its connection was closed", self._device)

    def _ask(self, *, wait: bool) -> pb.Lease:
        with self._lock:
            if self._released.is_set():
                raise DeviceError(f"{self._device}: its lease was given back")
            if self._unlocked_by is not None:
                raise DeviceError(self._unlocked_text(self._unlocked_by))
            request = pb.AcquireLeaseRequest(owner=self._owner, ttl_s=TTL_S, wait=wait)
            try:
                answer: pb.Lease = self._line.stub.AcquireLease(request, timeout=CALL_DEADLINE_S)
            except grpc.RpcError as error:
                raise self._failed(error) from error
            except ValueError as error:
                raise Unreachable(f"{self._device}: its connection was closed") from error
            if answer.granted:
                self._lease_id = answer.lease_id
                if self._thread.ident is None:
                    self._thread.start()
            elif self._lease_id:
                self._heed_unlock(answer)
            return answer

    def _heed_unlock(self, answer: pb.Lease) -> None:
        """Whoever unlocked the board from us did not mean for a moment."""
        if answer.HasField("unlocked_by"):
            self._unlocked_by = answer.unlocked_by
            raise DeviceError(self._unlocked_text(answer.unlocked_by))

    def _unlocked_text(self, by: str) -> str:
        return f"{self._device}: unlocked by {by}"

    def _failed(self, error: grpc.RpcError) -> DeviceError:
        kind = Unreachable if error.code() in TRANSPORT else DeviceError
        return kind(f"{self._device}: the lease could not be taken: {reason(error)}")

    def _held_too_long(self, answer: pb.Lease, wait_s: float) -> str:
        waited = f"waited {wait_s:.0f} s for it; " if wait_s else ""
        holder = answer.owner or "another host"
        return (
            f"{self._device}: in use by {holder}; its lease ends in {answer.expires_in_s:.0f} s "
            f"unless it is renewed; {waited}wait longer (--wait), search without this device, or take it from them: "
            f"host devices unlock {self._device}"
        )

    def _keep(self) -> None:
        while not self._released.wait(RENEW_EVERY_S):
            if self._unlocked_by is not None:
                return
            before = self._lease_id
            try:
                if self.renew() or self._lease_id != before:
                    continue
                if not self._ask(wait=False).granted:  # for instance after this machine slept
                    log.debug("%s: its lease was lost to another host", self._device)
            except DeviceError as error:  # the next call of the device's own thread tells it
                log.debug("%s", error)


def _place(answer: pb.Lease) -> str:
    """As in "held by bob@desk, you are 2nd in line"; an agent of protocol version 1 keeps no line."""
    holder = f"held by {answer.owner}" if answer.owner else "held by another host"
    if not answer.HasField("queue_position"):
        return holder
    return f"{holder}, you are {_ordinal(answer.queue_position)} in line"


def _ordinal(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    is_teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if is_teen else endings.get(number % 10, 'th')}"
