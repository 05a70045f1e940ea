"""The user's own boards: devices.toml in the configuration folder, the same [devices.NAME] as in edgepareto.toml.

Written whole or not at all, by one process at a time, and only where what comes out can be read again; the user's
comments and order stay.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.config.address import address_of_ssh
from edgepareto.host.config.devices import LOCAL, check_entry, known_devices
from edgepareto.host.config.folder import config_folder, locked, shown, write_whole
from edgepareto.host.config.section import Section, did_you_mean
from edgepareto.host.config.toml_file import TomlFile, parse_toml, read_toml
from edgepareto.host.config.values import DeviceConfig
from edgepareto.host.errors import ConfigError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Table

__all__ = ["add_device", "inventory_file", "read_inventory", "record_board", "remove_device"]

HEADER = "# The boards of this user, for every project: host devices add|list|show|remove\n"


def inventory_file() -> Path:
    return config_folder() / "devices.toml"


def read_inventory() -> TomlFile | None:
    """None: there is none yet. Raises ConfigError."""
    try:
        file = inventory_file()
        if not file.is_file():
            return None
    except (ConfigError, PermissionError):  # a user without a home of its own has no boards there either
        return None
    return _checked(read_toml(file, label=shown(file)))


def add_device(name: str, entry: Mapping[str, object], *, replace: bool = False) -> DeviceConfig:
    """Write [devices.NAME]; entry by key as in the file, None for what is not set. Returns what is there now.

    A key is sought from the current folder, trust beside the file.
    Raises ConfigError for what does not fit (naming the flag), and for a name that is taken unless `replace`.
    """
    if name == LOCAL:
        raise ConfigError(f"device {LOCAL}: is always this machine; choose another name")
    values = {key: value for key, value in entry.items() if value is not None}
    check_entry(name, values)
    if "key" in values:
        key = Path.cwd() / Path(str(values["key"])).expanduser()
        if not key.is_file():
            what = "is a folder" if key.is_dir() else "there is no such file"
            raise ConfigError(f"--key {values['key']}: {what}; the private key for SSH is wanted")
        values["key"] = key

    def change(document: TOMLDocument) -> None:
        devices = document.setdefault("devices", _table())
        if name in devices and not replace:
            raise ConfigError(
                f"device {name} exists in {shown(inventory_file())}; choose another name, or replace it with --replace"
            )
        devices[name] = _table(values)

    def refuse_shadowing(devices: Sequence[DeviceConfig]) -> None:
        """A device's own name wins, so a group of that name could never be meant."""
        names, groups = {device.name for device in devices}, {device.group for device in devices}
        for taken in (name, entry.get("group")):
            if taken in names and taken in groups:
                raise ConfigError(f"{taken} would be a device and a group; give one of them another name")

    return _changed(change, check=refuse_shadowing)[name]


def record_board(device: DeviceConfig, *, board_id: str | None, changed: Collection[str] = ()) -> DeviceConfig:
    """Remember what `host deploy` made of a device: its board_id, or None after its removal. Returns what is there now.

    changed: of address, meter, shunt_ohm, shared, those that are to be as in `device` from now on. A board that only a
    project's edgepareto.toml names gets an entry here. Raises ConfigError where the user's board of that name is
    another one.
    """
    ssh = device.ssh
    if ssh is None:
        raise ConfigError(f"device {device.name}: has no ssh, so nothing was installed on it from here")

    def change(document: TOMLDocument) -> None:
        devices = document.setdefault("devices", _table())
        known = devices.get(device.name, {})
        if known and known.get("ssh") != ssh:
            raise ConfigError(
                f"device {device.name}: is {ssh} in {device.origin}, and another board in "
                f"{shown(inventory_file())}; give one of the two another name"
            )
        if device.name not in devices:
            if board_id is None:
                return
            devices[device.name] = _table(_reached_by(device, ssh))
        if board_id is not None:
            devices[device.name]["board_id"] = board_id
        else:
            devices[device.name].pop("board_id", None)
        for key in changed:
            value = getattr(device, key)
            if value is None:
                devices[device.name].pop(key, None)
            else:
                devices[device.name][key] = value

    return _changed(change).get(device.name, device)


def remove_device(name: str) -> None:
    """Raises ConfigError for a name that is not in the user's file."""

    def change(document: TOMLDocument) -> None:
        devices = document.get("devices", {})
        if name not in devices:
            known = ", ".join(devices) or "none"
            raise ConfigError(
                f"device {name} is not in {shown(inventory_file())}; known there: {known}"
                f"{did_you_mean(name, list(devices))}"
            )
        devices.pop(name)

    _changed(change)


def _changed(
    change: Callable[[TOMLDocument], None], *, check: Callable[[Sequence[DeviceConfig]], None] = lambda _: None
) -> dict[str, DeviceConfig]:
    """What is there now, by name. check: of what would be there; nothing is written where it raises."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    file = inventory_file()
    with locked(file):
        read_inventory()  # which says what is wrong with a file that somebody edited
        text = file.read_text(encoding="utf-8") if file.is_file() else HEADER
        try:
            document = tomlkit.parse(text)
            change(document)
        except ConfigError:
            raise
        except (TOMLKitError, ValueError) as error:
            raise ConfigError(
                f"{shown(file)}: cannot be changed ({error}); write each device as [devices.NAME], or edit it by hand"
            ) from error
        text = tomlkit.dumps(document).rstrip("\n") + "\n"
        written = known_devices(None, _checked(parse_toml(text, file, label=shown(file))))
        check(written)
        write_whole(Path(os.path.realpath(file)), text.encode(), mode=0o600)
    return {device.name: device for device in written}


def _checked(source: TomlFile) -> TomlFile:
    top = Section(source, (), {})
    top.subtable("devices")
    top.refuse_unknown()
    return source


def _reached_by(device: DeviceConfig, ssh: str) -> dict[str, object]:
    """What a board is found by from any folder."""
    address = None if device.address == address_of_ssh(ssh) else device.address
    found = {"ssh": ssh, "port": device.ssh_port, "key": device.ssh_key, "address": address}
    return {key: value for key, value in found.items() if value is not None}


def _table(values: Mapping[str, object] | None = None) -> Table:
    import tomlkit

    table = tomlkit.table(is_super_table=values is None)
    for key, value in (values or {}).items():
        table[key] = str(value) if isinstance(value, Path) else value
    return table
