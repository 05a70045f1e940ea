"""Which devices a user can name, and what each name stands for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from edgepareto.host.config.section import Section, did_you_mean
from edgepareto.host.config.toml_file import TomlFile
from edgepareto.host.config.values import DeviceConfig
from edgepareto.host.errors import ConfigError

__all__ = ["chosen_devices", "known_devices"]

LOCAL = "local"  # always a device: this machine, which works for others meanwhile unless shared = false
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^:\s]+):(\d{1,5})")
LARGEST_PORT = 65_535
THIS_MACHINE = DeviceConfig(name=LOCAL, local=True)


def known_devices(source: TomlFile | None) -> tuple[DeviceConfig, ...]:
    """Every [devices.NAME] of the file in its order, and `local`. Raises ConfigError."""
    table = Section(source, ("devices",), {})
    devices = [_device(source, table, name) for name in table.names]
    if all(device.name != LOCAL for device in devices):
        devices.append(THIS_MACHINE)
    return tuple(devices)


def chosen_devices(
    chosen: Sequence[str | DeviceConfig] | None, known: Sequence[DeviceConfig]
) -> tuple[DeviceConfig, ...]:
    """The devices chosen by name, HOST:PORT or value; with no choice every known one but an unmentioned `local`."""
    if chosen is None:
        return tuple(device for device in known if device != THIS_MACHINE)
    devices = [item if isinstance(item, DeviceConfig) else _named(item.strip(), known) for item in chosen]
    names = [device.name for device in devices]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"--devices: {twice} is named twice; each device searches once")
    return tuple(devices)


def _named(name: str, known: Sequence[DeviceConfig]) -> DeviceConfig:
    for device in known:
        if device.name == name:
            return device
    if HOST_PORT.fullmatch(name):
        problem = _address_problem(name)
        if problem:
            raise ConfigError(f"--devices {name}: {problem}")
        return DeviceConfig(name=name, address=name)
    names = [device.name for device in known]
    hint = did_you_mean(name, names)
    raise ConfigError(f"device {name or '(empty)'} is not known; known are {', '.join(names)}, or give HOST:PORT{hint}")


def _device(source: TomlFile | None, table: Section, name: str) -> DeviceConfig:
    table.subtable(name)
    section = Section(source, ("devices", name), {})
    if NAME.fullmatch(name) is None:
        raise table.error(name, "a device's name is letters, digits, - and _")
    simulate, address = section.text("simulate"), section.text("address")
    local = bool(section.flag("local")) or name == LOCAL
    if (simulate is not None) + (address is not None) + local != 1:
        allowed = (
            "sets only the options of this machine"
            if name == LOCAL
            else ('needs exactly one of simulate = "raspberry-pi-4b", local = true, address = "HOST:PORT"')
        )
        raise table.error(name, allowed)
    if address is not None and (problem := _address_problem(address)):
        raise section.error("address", problem)
    defaults = DeviceConfig(name=name)
    seed, shared = section.integer("seed", least=0), section.flag("shared")
    if shared is not None and not local:
        raise section.error(
            "shared",
            "is for local = true alone; a simulated board shares nothing"
            if address is None
            else "is for local = true alone; set it in the agent.toml of that board",
        )
    device = DeviceConfig(
        name=name,
        simulate=simulate,
        local=local,
        address=address,
        seed=defaults.seed if seed is None else seed,
        threads=section.integer("threads", least=1),
        step=section.integer("step", least=1),
        shared=shared,
        runtime=section.text("runtime") or defaults.runtime,
        faults=section.texts("faults") or (),
        pace=_pace(section, simulate),
    )
    section.refuse_unknown()
    return device


def _pace(section: Section, simulate: str | None) -> float:
    pace = section.number("pace")
    if pace is None:
        return 0.0
    if simulate is None:
        raise section.error("pace", "is for simulated boards alone; a real one takes its own time")
    if pace < 0:
        raise section.error("pace", "must be 0 (as fast as it goes) or more (1 is real time)")
    return pace


def _address_problem(address: str) -> str | None:
    """Until boards have credentials a host talks to agents of this machine only."""
    if address.startswith("unix:/"):
        return None
    match = HOST_PORT.fullmatch(address)
    if match is None or not 0 < int(match.group(2)) <= LARGEST_PORT:
        return "must read HOST:PORT or unix:/path"
    host = match.group(1).strip("[]")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if is_loopback:
        return None
    return "agents have no credentials yet, so only this machine's (127.0.0.1, localhost); forward the port with ssh -L"
