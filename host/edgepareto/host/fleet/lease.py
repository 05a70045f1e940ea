"""The host's hold on a board: taken at connect, renewed by a thread, given back at the end."""

from __future__ import annotations

import logging
import threading

import grpc
from edgepareto.host.domain import DeviceName
from edgepareto.host.errors import DeviceError
from edgepareto.host.fleet.channel import CALL_DEADLINE_S, reason
from edgepareto.profiler.v1 import profiler_pb2 as pb
from edgepareto.profiler.v1 import profiler_pb2_grpc

__all__ = ["HeldLease"]

TTL_S = 30  # a host that died frees the board, and ends its batch, after this
RENEW_EVERY_S = TTL_S / 3

log = logging.getLogger(__name__)


class HeldLease:
    """One board's lease from `acquire` to `release`. Thread-safe."""

    def __init__(self, stub: profiler_pb2_grpc.ProfilerStub, device: DeviceName, owner: str) -> None:
        self._stub = stub
        self._device = device
        self._owner = owner
        self._lease_id = ""
        self._lock = threading.Lock()  # so that no lease is taken while the last one is given back
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease {device}", daemon=True)

    @property
    def id(self) -> str:
        return self._lease_id

    def acquire(self) -> None:
        """Take the lease, or take it again: the same owner's own lease is given at once. Raises DeviceError."""
        with self._lock:
            if self._released.is_set():
                raise DeviceError(f"{self._device}: its lease was given back")
            self._acquire()
            if self._thread.ident is None:
                self._thread.start()

    def release(self) -> None:
        """Give the lease back; a batch that still runs under it is cut short. An agent that is gone is no error."""
        self._released.set()
        with self._lock:
            if not self._lease_id:
                return
            try:
                self._stub.ReleaseLease(pb.ReleaseLeaseRequest(lease_id=self._lease_id), timeout=CALL_DEADLINE_S)
            except grpc.RpcError as error:
                log.debug("%s: the lease could not be given back: %s", self._device, reason(error))

    def _acquire(self) -> None:
        request = pb.AcquireLeaseRequest(owner=self._owner, ttl_s=TTL_S)
        try:
            answer = self._stub.AcquireLease(request, timeout=CALL_DEADLINE_S)
        except grpc.RpcError as error:
            raise DeviceError(f"{self._device}: the lease could not be taken: {reason(error)}") from error
        if not answer.granted:
            raise DeviceError(
                f"{self._device}: in use by {answer.owner}; its lease ends in {answer.expires_in_s:.0f} s unless it is "
                "renewed; wait, or search without this device"
            )
        self._lease_id = answer.lease_id

    def _keep(self) -> None:
        while not self._released.wait(RENEW_EVERY_S):
            self._renew()

    def _renew(self) -> None:
        request = pb.RenewLeaseRequest(lease_id=self._lease_id, ttl_s=TTL_S)
        try:
            answer = self._stub.RenewLease(request, timeout=CALL_DEADLINE_S)
            if not answer.granted:  # for instance after this machine slept
                self.acquire()
        except grpc.RpcError as error:
            log.debug("%s: lease not renewed: %s", self._device, reason(error))
        except DeviceError as error:
            log.warning("%s", error)
