"""What `--devices pi1,local,127.0.0.1:50505` means: names of edgepareto.toml, this machine, addresses."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Sequence

from edgepareto.host.config import DeviceConfig
from edgepareto.host.errors import ConfigError

__all__ = ["LOCAL", "resolve"]

LOCAL = "local"  # always a device: this machine, really measured


def resolve(names: Sequence[str], known: Sequence[DeviceConfig]) -> tuple[DeviceConfig, ...]:
    """The devices of `names`, in that order; known: those of edgepareto.toml. Raises ConfigError."""
    if not names:
        raise ConfigError(f"no device named; --devices takes {_allowed(known)}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"--devices names {', '.join(repeated)} more than once")
    return tuple(_resolved(name, known) for name in names)


def _resolved(name: str, known: Sequence[DeviceConfig]) -> DeviceConfig:
    configured = {device.name: device for device in known}
    if name in configured:
        device = configured[name]
    elif name == LOCAL:
        device = DeviceConfig(name=LOCAL, local=True, shared=True)
    elif _is_address(name):
        device = DeviceConfig(name=name, address=name)
    else:
        close = difflib.get_close_matches(name, [*configured, LOCAL], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"unknown device {name!r}{hint} --devices takes {_allowed(known)}")
    if device.address is not None:
        _check_loopback(device.name, device.address)
    return device


def _allowed(known: Sequence[DeviceConfig]) -> str:
    names = sorted({LOCAL, *(device.name for device in known)})
    return f"{', '.join(names)} or HOST:PORT (boards stand in edgepareto.toml under [devices])"


def _is_address(name: str) -> bool:
    host, _, port = name.rpartition(":")
    return bool(host) and port.isdigit()


def _check_loopback(name: str, address: str) -> None:
    """An agent without credentials listens on loopback only, so nothing else can answer."""
    if address.startswith("unix:"):
        return
    host, _, port = address.rpartition(":")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"{name}: {address} is not on this machine, and agents without credentials listen on loopback only; "
            f"forward the port: ssh -L {port}:127.0.0.1:{port} {host}, then use 127.0.0.1:{port}"
        )
