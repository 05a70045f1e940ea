"""The devices a user can name, and what their agents answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain.device import DeviceInfo
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["DeviceStatus", "devices_table", "known_devices_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """A device that was asked. Exactly one of info and problem is set."""

    device: DeviceConfig
    info: DeviceInfo | None
    problem: str | None


def known_devices_table(devices: Sequence[DeviceConfig]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("device")
    table.add_column("what it is")
    for device in devices:
        table.add_row(device.name, _what(device))
    return table


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
        table.add_row(
            status.device.name, Text("ready", style="green"), board, runtimes or "none", meter, info.agent_version
        )
    yield table
    for status in statuses:
        if status.problem is not None:
            yield Text(f"  ! {status.problem}", style="bold yellow")


def _what(device: DeviceConfig) -> str:
    if device.simulate is not None:
        return f"simulated {device.simulate}, seed {device.seed}"
    return "this machine, really measured" if device.local else f"agent at {device.address}"
