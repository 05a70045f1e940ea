"""Which devices there are, and whether they answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepareto.host.config import DeviceConfig, Flags, read_settings
from edgepareto.host.errors import DeviceError
from edgepareto.host.views import DeviceStatus

__all__ = ["check_devices", "known_devices"]


def known_devices(*, settings: str | Path | None = None) -> tuple[DeviceConfig, ...]:
    """Every device that has a name: those of the settings, and `local`. Asks none of them."""
    return read_settings(None if settings is None else Path(settings), Flags()).known


def check_devices(
    devices: Sequence[str] | None = None, *, settings: str | Path | None = None
) -> tuple[DeviceStatus, ...]:
    """Ask devices who they are; a simulated or local one is started for it. None: all of the settings.

    A device that cannot be used is in the answer with its problem. Raises ConfigError for an unknown name.
    """
    flags = Flags(devices=None if devices is None else tuple(devices))
    chosen = read_settings(None if settings is None else Path(settings), flags)
    return tuple(_asked(device) for device in chosen.devices or chosen.known)


def _asked(device: DeviceConfig) -> DeviceStatus:
    from edgepareto.host.fleet import probe  # brings grpc

    try:
        return DeviceStatus(device=device, info=probe(device), problem=None)
    except DeviceError as error:
        return DeviceStatus(device=device, info=None, problem=str(error))
