"""A short look at one installed board while it is being set up: who uses it, and whether it lets one identity in."""

from __future__ import annotations

from edgepareto.host.config import DeviceConfig
from edgepareto.host.credentials import ClientCredentials
from edgepareto.host.domain import DeviceInfo, DeviceName
from edgepareto.host.fleet.channel import CALL_DEADLINE_S, ask_device_info, channel_for, open_channel, open_stub
from edgepareto.host.fleet.refusal import admitting
from edgepareto.profiler.v1 import profiler_pb2 as pb

__all__ = ["holder_of", "visit_as"]


def holder_of(device: DeviceConfig) -> str | None:
    """Who holds the board's lease; None: nobody, or its agent cannot say. Raises DeviceError leaves."""
    import grpc

    channel = channel_for(device)
    try:
        info = open_stub(channel).GetDeviceInfo(pb.GetDeviceInfoRequest(protocol_version=2), timeout=CALL_DEADLINE_S)
    except grpc.RpcError:
        return None  # whoever asks for more will hear why
    finally:
        channel.close()
    return info.holder.owner if info.HasField("holder") else None


def visit_as(device: DeviceConfig, credentials: ClientCredentials) -> DeviceInfo:
    """What the board says to this very identity. Raises Unreachable, Refused, WrongProtocol, DeviceError."""
    address = device.address
    assert address is not None, device
    channel = open_channel(address, admitting(device.name, address, [credentials]))
    try:
        return ask_device_info(open_stub(channel), DeviceName(device.name), address, host_boot_id=None)
    finally:
        channel.close()
