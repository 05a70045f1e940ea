"""Whether one installed board lets one identity in."""

from __future__ import annotations

from edgepareto.host.config import DeviceConfig
from edgepareto.host.credentials import ClientCredentials
from edgepareto.host.domain import DeviceInfo, DeviceName
from edgepareto.host.fleet.channel import ask_device_info, open_channel, open_stub
from edgepareto.host.fleet.refusal import admitting

__all__ = ["visit_as"]


def visit_as(device: DeviceConfig, credentials: ClientCredentials) -> DeviceInfo:
    """What the board says to this very identity. Raises Unreachable, Refused, WrongProtocol, DeviceError."""
    address = device.address
    assert address is not None, device
    channel = open_channel(address, admitting(device.name, address, [credentials]))
    try:
        return ask_device_info(open_stub(channel), DeviceName(device.name), address, host_boot_id=None)
    finally:
        channel.close()
