"""The devices a user can name, what is known of one here, and what their agents answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.config import DeviceConfig
from edgepareto.host.config.folder import shown
from edgepareto.host.credentials import CertificateFacts, Identity, short_fingerprint
from edgepareto.host.domain.device import DeviceInfo
from edgepareto.host.domain.lease_holder import LeaseHolder
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = [
    "DeviceDetails",
    "DeviceStatus",
    "device_details_json",
    "device_details_table",
    "devices_table",
    "holder_text",
    "identity_lines",
    "known_devices_json",
    "known_devices_table",
]

SCHEMA = 1
NOT_YET = "not yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """A device that was asked. Exactly one of info and problem is set. holder None: free, or not known.

    findings: what its board says by SSH where its agent does not answer us.
    """

    device: DeviceConfig
    info: DeviceInfo | None
    problem: str | None
    holder: LeaseHolder | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceDetails:
    """What is known here of one device. identity: None before the first board was installed from here.

    host_keys: of SSH, those accepted for it. authority: whose board it is, where not ours. has_moved: while our
    authority is being replaced, whether the board knows the new one; None otherwise.
    """

    device: DeviceConfig
    host_keys: tuple[str, ...]
    identity: Identity | None
    authority: CertificateFacts | None
    has_moved: bool | None


def known_devices_table(devices: Sequence[DeviceConfig], identity: Identity | None) -> Iterator[RenderableType]:
    """A row per device; then what is to be installed yet; the last line says who we are to the boards."""
    rows = [
        {
            "device": device.name,
            "what it is": _what(device),
            "group": device.group or "",
            "meter": device.meter or "",
            "installed": _installed(device),
            "stands in": ", ".join(shown(file) for file in (device.origin, device.overridden_by) if file is not None)
            or "built in",
        }
        for device in devices
    ]
    table = Table(box=box.SIMPLE_HEAD)
    headings = [heading for heading in rows[0] if any(row[heading] for row in rows)]
    for heading in headings:
        table.add_column(heading, overflow="fold", min_width=len(heading), no_wrap=heading == "device")
    for row in rows:
        table.add_row(*(Text(row[heading]) for heading in headings))  # Text: an address in brackets is no markup
    yield table
    for device in devices:
        if device.problem is not None:
            yield Text(f"  ! {device.problem}", style="bold yellow")
    if missing := [device.name for device in devices if _installed(device) == NOT_YET]:
        yield Text(f"  {NOT_YET}: host deploy {' '.join(missing)}")
    yield Text("  " + next(identity_lines(identity)), style="dim")


def known_devices_json(devices: Sequence[DeviceConfig], identity: Identity | None) -> str:
    report: dict[str, object] = {"schema": SCHEMA, "devices": [_known_json(device) for device in devices]}
    if identity is not None:
        report["identity"] = _identity_json(identity)
    return json.dumps(report, indent=1)


def device_details_table(details: DeviceDetails) -> Iterator[RenderableType]:
    device = details.device
    table = Table(box=None, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "device": device.name,
        "what it is": _what(device),
        "SSH": device.ssh,
        "SSH port": device.ssh_port,
        "SSH key": device.ssh_key,
        "host key wanted": device.host_key,
        "host keys accepted": "\n".join(details.host_keys) or None,
        "agent": device.address,
        "installed": f"{NOT_YET}: host deploy {device.name}"
        if _installed(device) == NOT_YET
        else _installed(device) or None,
        "board id": device.board_id,
        "certificate of": _authority(details),
        "knows our new authority": None if details.has_moved is None else "yes" if details.has_moved else NOT_YET,
        "meter": device.meter,
        "shunt": None if device.shunt_ohm is None else f"{device.shunt_ohm:g} ohm",
        "shared": None if device.shared is None else "yes" if device.shared else "no",
        "group": device.group,
        "runtime": device.runtime,
        "threads": device.threads,
        "step": device.step,
        "seed": device.seed if device.simulate is not None else None,
        "clock modes": ", ".join(device.clock_modes) or None,
        "faults": ", ".join(device.faults) or None,
        "stands in": "built in" if device.origin is None else shown(device.origin),
        "some of it set by": None if device.overridden_by is None else shown(device.overridden_by),
    }
    for heading, value in rows.items():
        if value is not None:
            table.add_row(heading, Text(str(value)))
    yield table
    if device.board_id is not None:
        for line in identity_lines(details.identity):
            yield Text(f" {line}", style="dim")


def device_details_json(details: DeviceDetails) -> str:
    device = details.device
    report: dict[str, object] = {"schema": SCHEMA, **_known_json(device)}
    if details.host_keys:
        report["host_keys"] = list(details.host_keys)
    if details.authority is not None:
        report["authority"] = {
            "name": details.authority.common_name,
            "fingerprint": details.authority.fingerprint,
        }
    if details.has_moved is not None:
        report["knows_new_authority"] = details.has_moved
    if details.identity is not None:
        report["identity"] = _identity_json(details.identity)
    return json.dumps(report, indent=1)


def identity_lines(identity: Identity | None) -> Iterator[str]:
    """Who we are to the boards; the first line says it all."""
    if identity is None:
        yield "you are nobody to any board yet; host deploy NAME makes your credentials"
        return
    yield f"you are {identity.owner} to the boards, {short_fingerprint(identity.fingerprint)}"
    ends = f"ends on {identity.expires_at:%Y-%m-%d} and is renewed by itself"
    yield f"your certificate {short_fingerprint(identity.certificate_fingerprint)} {ends}"


def devices_table(statuses: Sequence[DeviceStatus]) -> Iterator[RenderableType]:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("device", "state", "board", "runtimes", "meter", "agent"):
        table.add_column(heading, overflow="fold")
    for status in statuses:
        info = status.info
        if info is None:
            table.add_row(status.device.name, Text("failed", style="bold red"), "", "", "", "")
            continue
        board = f"{info.board}{' (SIMULATED)' if info.simulated else ''}, {info.cpu_count} cores"
        runtimes = ", ".join(f"{runtime.name} {runtime.version}" for runtime in info.runtimes)
        meter = "none" if info.meter is None else f"{info.meter.kind} ({info.meter.fault or info.meter.quality.value})"
        words = (board, runtimes or "none", meter, info.agent_version)  # an agent's: no markup
        table.add_row(status.device.name, Text("ready", style="green"), *map(Text, words))
    yield table
    for status in statuses:
        if status.problem is not None:
            yield Text(f"  ! {status.problem}", style="bold yellow")
        for finding in status.findings:
            yield Text(f"  ! {status.device.name}: {finding}", style="bold yellow")
        if status.holder is not None:
            yield Text(f"  {status.device.name}: {holder_text(status.holder)}", style="dim")
        if status.info is not None and status.info.clock_modes:
            modes = ", ".join(status.info.clock_modes)
            yield Text(f"  {status.device.name}: clock modes {modes}", style="dim")


def holder_text(holder: LeaseHolder) -> str:
    who = f"{holder.owner} ({short_fingerprint(holder.fingerprint)})" if holder.fingerprint else holder.owner
    line = f", {holder.waiting} in line" if holder.waiting else ""
    return f"held by {who}, its lease ends in {holder.expires_in_s:.0f} s unless it is renewed{line}"


def _what(device: DeviceConfig) -> str:
    if device.problem is not None:
        return "not known, see below"
    if device.simulate is not None:
        return f"simulated {device.simulate}, seed {device.seed}"
    if device.local:
        return "this machine, really measured"
    return f"agent at {device.address}" if device.ssh is None else f"board at {device.ssh}"


def _kind(device: DeviceConfig) -> str:
    if device.problem is not None:
        return "unknown"
    return "simulated" if device.simulate is not None else "local" if device.local else "board"


def _installed(device: DeviceConfig) -> str:
    if device.ssh is None:
        return "" if device.board_id is None else "by a colleague" if device.trust is not None else "yes"
    return "yes" if device.board_id is not None else NOT_YET


def _authority(details: DeviceDetails) -> str | None:
    if details.authority is not None:
        return f"{details.authority.common_name}, {short_fingerprint(details.authority.fingerprint)}"
    if details.device.board_id is None or details.identity is None:
        return None
    return f"yourself, {short_fingerprint(details.identity.fingerprint)}"


def _known_json(device: DeviceConfig) -> dict[str, object]:
    known: dict[str, object | None] = {
        "name": device.name,
        "kind": _kind(device),
        "problem": device.problem,
        "simulate": device.simulate,
        "ssh": device.ssh,
        "port": device.ssh_port,
        "key": device.ssh_key,
        "host_key": device.host_key,
        "address": device.address,
        "installed": device.board_id is not None if _kind(device) == "board" else None,
        "board_id": device.board_id,
        "trust": device.trust,
        "group": device.group,
        "meter": device.meter,
        "shunt_ohm": device.shunt_ohm,
        "shared": device.shared,
        "runtime": device.runtime,
        "threads": device.threads,
        "step": device.step,
        "file": device.origin,
        "overridden_by": device.overridden_by,
    }
    given = {key: value for key, value in known.items() if value is not None}
    return {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}


def _identity_json(identity: Identity) -> dict[str, object]:
    return {
        "owner": identity.owner,
        "fingerprint": identity.fingerprint,
        "certificate_fingerprint": identity.certificate_fingerprint,
        "certificate_expires_at": identity.expires_at.isoformat(),
    }
