"""Turns this process's agent into one of another release: version 1 or 2 of the wire, or one that nobody knows."""

from __future__ import annotations

from edgepareto.agent import wire
from edgepareto.agent.errors import ProtocolMismatch
from edgepareto.agent.lease import Grant, LeaseBook, Owner
from edgepareto.agent.servicer import ProfilerServicer
from edgepareto.profiler.v1 import profiler_pb2 as pb
from edgepareto.profiler.v1 import profiler_pb2_grpc


def speak_protocol(version: int) -> None:
    """An agent of version 2 computes no outputs. One of version 1 refuses every other number as well, keeps no queue,
    names no holder and knows no Unlock."""
    if version == wire.PROTOCOL_VERSION:
        return
    if version > wire.PROTOCOL_VERSION:
        wire.spoken_version = lambda request: _only(version, request)
        return
    released = profiler_pb2_grpc.ProfilerServicer
    ProfilerServicer.ComputeOutputs = released.ComputeOutputs  # type: ignore[method-assign]
    if version == 2:
        wire.spoken_version = lambda request: min(request.protocol_version, version)
        return
    wire.spoken_version = lambda request: _only(version, request)
    present_info, present_lease, present_acquire = wire.device_info, wire.lease, LeaseBook.acquire

    def device_info(device: wire.Device, **known: object) -> pb.DeviceInfo:
        return present_info(device, **{**known, "holder": None})  # type: ignore[arg-type]

    def lease(grant: Grant) -> pb.Lease:
        message = present_lease(grant)
        for field in ("queue_position", "owner_fingerprint", "unlocked_by"):
            message.ClearField(field)  # type: ignore[arg-type]
        return message

    def acquire(self: LeaseBook, owner: Owner, ttl_s: float, *, wait: bool = False) -> Grant:
        return present_acquire(self, owner, ttl_s)

    wire.device_info = device_info
    wire.lease = lease
    LeaseBook.acquire = acquire  # type: ignore[method-assign]
    ProfilerServicer.Unlock = released.Unlock  # type: ignore[method-assign]


def _only(version: int, request: pb.GetDeviceInfoRequest) -> int:
    if request.protocol_version != version:
        raise ProtocolMismatch(
            f"the host speaks protocol version {request.protocol_version}, this agent speaks {version}; install the "
            "same edgepareto release on both"
        )
    return version
