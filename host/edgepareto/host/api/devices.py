"""Which devices there are, who we are to them, and whether they answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from edgepareto.host.api.device_access import explain_devices
from edgepareto.host.config import (
    DeviceConfig,
    config_folder,
    inventory_file,
    read_devices,
    read_known,
)
from edgepareto.host.config import add_device as write_device
from edgepareto.host.config import remove_device as erase_device
from edgepareto.host.config.devices import check_entry
from edgepareto.host.config.folder import write_whole
from edgepareto.host.credentials import (
    Identity,
    certificate_facts,
    credentials_folder,
    open_rotation,
    own_identity,
    read_authority,
    read_card,
)
from edgepareto.host.errors import ConfigError, DeviceError
from edgepareto.host.views import DeviceDetails, DeviceStatus

__all__ = [
    "add_device",
    "add_device_by_card",
    "check_devices",
    "device_details",
    "known_devices",
    "known_identity",
    "own_identity",
    "remove_device",
    "write_authority",
]

ASKED_AT_ONCE = 8
TRUSTED = "trusted"  # the authorities of colleagues, one file per board and authority, beside devices.toml


def known_devices(*, settings: str | Path | None = None) -> tuple[DeviceConfig, ...]:
    """Every device that has a name: those of the settings, of the user's inventory, and `local`. Asks none of them.

    What the settings say wrongly of one is its `problem`. Raises ConfigError for a file that cannot be read.
    """
    return read_known(None if settings is None else Path(settings))


def add_device(
    name: str,
    ssh: str,
    *,
    port: int | None = None,
    key: str | Path | None = None,
    host_key: str | None = None,
    address: str | None = None,
    meter: str | None = None,
    shunt_ohm: float | None = None,
    shared: bool | None = None,
    group: str | None = None,
    replace: bool = False,
) -> DeviceConfig:
    """Write a board into the user's inventory; nothing is asked of it. ConfigError for what does not fit.

    ssh: "user@host" or an alias of ~/.ssh/config; port, key, host_key ("SHA256:...") are SSH's. address: of the agent,
    default the same host. meter, shunt_ohm, shared: for `host deploy`. replace: whether a device of that name is
    replaced.
    """
    entry = {
        "ssh": ssh,
        "port": port,
        "key": None if key is None else str(key),
        "host_key": host_key,
        "address": address,
        "meter": meter,
        "shunt_ohm": shunt_ohm,
        "shared": shared,
        "group": group,
    }
    return _written(name, entry, replace=replace)


def add_device_by_card(name: str, card: str | Path, *, group: str | None = None, replace: bool = False) -> DeviceConfig:
    """Write a colleague's board into the user's inventory, as its owner's card says. Raises ConfigError."""
    found = read_card(Path(card))
    trust = Path(TRUSTED, f"{name}.{hashlib.sha256(found.ca_pem).hexdigest()[:16]}.pem")
    entry = {"address": found.address, "board_id": found.board_id, "trust": str(trust), "group": group}
    check_entry(name, {key: value for key, value in entry.items() if value is not None})
    # The authority first, under a name of its own: a failure leaves no board without one, nor another board's changed.
    file = config_folder() / trust
    is_new = not file.exists()
    config_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    file.parent.mkdir(exist_ok=True)
    write_whole(file, found.ca_pem)
    try:
        return _written(name, entry, replace=replace)
    except BaseException:
        if is_new:
            file.unlink()
        raise


def _written(name: str, entry: Mapping[str, object], *, replace: bool) -> DeviceConfig:
    before = _own_devices().get(name)
    device = write_device(name, entry, replace=replace)
    if before is not None and before.trust != device.trust:
        _forget_authority(before)
    return device


def _own_devices() -> dict[str, DeviceConfig]:
    """Those of the user's inventory, by name."""
    return {device.name: device for device in known_devices() if device.origin == inventory_file()}


def _forget_authority(device: DeviceConfig) -> None:
    """Of a device that is not in the inventory any more. A file of the user's own stays."""
    if device.trust is not None and device.trust.parent == config_folder() / TRUSTED:
        device.trust.unlink(missing_ok=True)


def remove_device(name: str, *, settings: str | Path | None = None) -> DeviceConfig:
    """Take a device out of the user's inventory and return it; what runs on the board stays. Raises ConfigError."""
    own = _own_devices()
    if name not in own:
        elsewhere = [device.origin for device in known_devices(settings=settings) if device.name == name]
        if elsewhere and elsewhere[0] is not None:
            raise ConfigError(f"device {name}: stands in {elsewhere[0]}; remove its [devices.{name}] there")
    erase_device(name)
    _forget_authority(own[name])
    return own[name]


def device_details(name: str, *, settings: str | Path | None = None) -> DeviceDetails:
    """Everything that is known here of one device; it is not asked. ConfigError for an unknown name."""
    chosen = read_devices(None if settings is None else Path(settings), [name])
    if [device.name for device in chosen] != [name]:
        raise ConfigError(f"{name} is a group, of {', '.join(device.name for device in chosen)}; name one of them")
    (device,) = chosen
    identity = known_identity()
    rotation = None if identity is None else open_rotation()
    return DeviceDetails(
        device=device,
        host_keys=() if device.ssh is None else _accepted_keys(device.ssh, device.ssh_port),
        identity=identity,
        authority=None if device.trust is None else certificate_facts(read_authority(device.trust)),
        has_moved=None if rotation is None or device.board_id is None else device.board_id in rotation.moved,
    )


def _accepted_keys(ssh: str, port: int | None) -> tuple[str, ...]:
    """Each as "ssh-ed25519 SHA256:...". Raises DeployError."""
    from edgepareto.host.deploy.host_keys import fingerprint, known_keys
    from edgepareto.host.deploy.ssh_config import find_route  # brings paramiko

    keys = known_keys(find_route(ssh, port=port).known_as)
    return tuple(dict.fromkeys(f"{key.kind} {fingerprint(key.blob)}" for key in keys if not key.is_revoked))


def known_identity() -> Identity | None:
    """Who we are to the boards, None before the first board; `own_identity` makes it then. Raises ConfigError."""
    return own_identity() if credentials_folder().is_dir() else None


def write_authority(file: str | Path) -> Identity:
    """Write the certificate that a board's owner needs to let us in; it is public. Raises WrongUse."""
    from edgepareto.host.export.onnx_file import output_must_be_writable
    from edgepareto.host.export.onnx_file import write_whole as write_output

    target = Path(file)
    output_must_be_writable(target)
    identity = own_identity()
    write_output(target, identity.ca_pem)
    return identity


def check_devices(
    devices: Sequence[str] | None = None,
    *,
    by_ssh: bool = True,
    tell: Callable[[str], None] = lambda words: None,
    settings: str | Path | None = None,
) -> tuple[DeviceStatus, ...]:
    """Ask devices, side by side, who they are; a simulated or local one is started for it. None: all of the settings.

    A device that cannot be used is in the answer with its problem; by_ssh: and with what its board says of that, where
    it has ssh. tell: what is being done. Every wait has an end. Raises ConfigError for an unknown name.
    """
    chosen = read_devices(None if settings is None else Path(settings), devices)
    tell(f"asking {', '.join(device.name for device in chosen)}")
    with ThreadPoolExecutor(min(ASKED_AT_ONCE, max(1, len(chosen))), thread_name_prefix="check") as threads:
        statuses = list(threads.map(_asked, chosen))
    silent = [place for place, status in enumerate(statuses) if by_ssh and _is_told_by_ssh(status)]
    if silent:
        tell(f"asking by SSH: {', '.join(chosen[place].name for place in silent)}")
        told = explain_devices([chosen[place] for place in silent])
        for place, findings in zip(silent, told, strict=True):
            statuses[place] = replace(statuses[place], findings=findings)
    return tuple(statuses)


def _is_told_by_ssh(status: DeviceStatus) -> bool:
    """A board that nothing was installed on from here has nothing to tell."""
    return status.info is None and status.device.ssh is not None and status.device.board_id is not None


def _without_check(problem: str) -> str:
    """Without the advice to run the command that tells it."""
    return re.sub(r"; host devices check [^;]*", "", problem)


def _asked(device: DeviceConfig) -> DeviceStatus:
    from edgepareto.host.fleet import probe  # brings grpc
    from edgepareto.host.fleet.unlock import lease_holder

    if device.problem is not None:
        return DeviceStatus(device=device, info=None, problem=device.problem)
    try:
        info = probe(device)
    except DeviceError as error:
        # Not what is being done already.
        problem = _without_check(str(error))
        return DeviceStatus(device=device, info=None, problem=problem)
    try:
        holder = None if device.address is None else lease_holder(device)
    except DeviceError:  # an older agent cannot say; one that is gone again was there a moment ago
        holder = None
    return DeviceStatus(device=device, info=info, problem=None, holder=holder)
