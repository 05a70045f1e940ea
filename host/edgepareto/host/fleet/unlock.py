"""Who holds a board, and taking it from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import DeviceName
from edgepareto.host.domain.lease_holder import LeaseHolder
from edgepareto.host.errors import DeviceError, WrongProtocol
from edgepareto.host.fleet.channel import CALL_DEADLINE_S, ask_message, channel_for, open_stub, reason
from edgepareto.host.fleet.wire import PROTOCOL_VERSION
from edgepareto.profiler.v1 import profiler_pb2 as pb
from edgepareto.profiler.v1 import profiler_pb2_grpc

__all__ = ["lease_holder", "unlock"]

UNLOCKS_FROM = 2  # the wire's version that knows holders and Unlock


def lease_holder(device: DeviceConfig) -> LeaseHolder | None:
    """None: the board is free. Raises WrongProtocol where the agent cannot tell, Unreachable, DeviceError."""
    with _stub(device) as stub:
        answer = ask_message(stub, DeviceName(device.name), device.address or "", version=PROTOCOL_VERSION)
    if answer.protocol_version < UNLOCKS_FROM:
        raise _too_old(device, answer.agent_version)
    return _holder(answer.holder) if answer.HasField("holder") else None


def unlock(device: DeviceConfig, by: str) -> LeaseHolder | None:
    """End the lease that is held and say whose it was; None: nobody's. by: "user@machine", told to who loses it.

    Raises as `lease_holder`.
    """
    with _stub(device) as stub:
        try:
            answer: pb.UnlockResponse = stub.Unlock(pb.UnlockRequest(by=by), timeout=CALL_DEADLINE_S)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise _too_old(device, "") from error
            raise DeviceError(f"{device.name}: could not be unlocked: {reason(error)}") from error
    return _holder(answer.ended) if answer.HasField("ended") else None


@contextmanager
def _stub(device: DeviceConfig) -> Iterator[profiler_pb2_grpc.ProfilerStub]:
    with channel_for(device) as channel:
        yield open_stub(channel)


def _too_old(device: DeviceConfig, agent_version: str) -> WrongProtocol:
    agent = f"its agent {agent_version}".rstrip()
    return WrongProtocol(
        f"{device.name}: {agent} is older than unlocking; a host that died frees the board after 30 s by itself; "
        f"host deploy {device.name} --upgrade"
    )


def _holder(message: pb.LeaseHolder) -> LeaseHolder:
    return LeaseHolder(
        owner=message.owner,
        fingerprint=message.fingerprint,
        expires_in_s=message.expires_in_s,
        waiting=message.waiting,
    )
