"""Which meters a board may have: looked for by reading alone, since another chip may sit where one is expected."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.errors import MeterError
from edgepareto.agent.power.hwmon import Monitor, address_of, bus_of, find_monitors, is_power_monitor
from edgepareto.agent.power.i2c import OpenedBus, open_i2c, owned_by_kernel
from edgepareto.agent.power.ina219 import POWER_ON_CONFIG, is_our_config
from edgepareto.agent.power.power_meter import MeterSetting

__all__ = ["MeterCandidate", "find_candidates"]

_ADDRESSES = (0x40, 0x41, 0x44, 0x45)  # SBOS448 table 1: both address pins at ground or supply
_INA226_CONFIGS = (0x4127, 0x4527)  # SBOS547: after power-on; ina2xx.c: as the kernel's driver leaves it


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterCandidate:
    """fault: why there is nothing to open here, and what to do. None: worth opening, which may still fail.

    is_absent: with a fault, that nothing is there at all.
    """

    setting: MeterSetting
    fault: str | None = None
    is_absent: bool = False


def find_candidates(
    sys_root: Path, *, open_bus: Callable[[int, Path], OpenedBus] = open_i2c
) -> tuple[MeterCandidate, ...]:
    """At least one of each kind, the most trustworthy kind first. Nothing is written to any chip.

    sys_root: above sys/ and dev/.
    """
    monitors = [monitor for monitor in find_monitors(sys_root) if is_power_monitor(monitor.chip)]
    found = [_hwmon(monitor) for monitor in monitors] or [MeterSetting(kind="hwmon")]
    elsewhere = [*found, *(MeterSetting(kind=kind) for kind in ("jetson", "pi5_pmic", "rapl"))]
    return (*_on_i2c(sys_root, open_bus), *(MeterCandidate(setting=setting) for setting in elsewhere))


def _hwmon(monitor: Monitor) -> MeterSetting:
    usual = MeterSetting(kind="hwmon", chip=monitor.chip, rail=monitor.label)
    bus, address, shunt_ohm = bus_of(monitor.device), address_of(monitor.device), monitor.shunt_ohm
    return MeterSetting(
        kind="hwmon",
        chip=monitor.chip,
        rail=monitor.label,
        bus=usual.bus if bus is None else bus,
        address=usual.address if address is None else address,
        shunt_ohm=usual.shunt_ohm if shunt_ohm is None else shunt_ohm,
    )


def _on_i2c(sys_root: Path, open_bus: Callable[[int, Path], OpenedBus]) -> list[MeterCandidate]:
    names = (path.name.removeprefix("i2c-") for path in (sys_root / "dev").glob("i2c-*"))
    buses = sorted(int(name) for name in names if name.isdecimal())
    if not buses:
        return [MeterCandidate(setting=MeterSetting(kind="ina219"))]  # opening it tells how to switch I2C on
    found = [candidate for bus in buses for candidate in _on_bus(bus, sys_root, open_bus)]
    if found:
        return found
    looked = ", ".join(f"{address:#04x}" for address in _ADDRESSES)
    nothing = (
        f"no chip answers at {looked} on {', '.join(f'/dev/i2c-{bus}' for bus in buses)}: check SDA, SCL and 3.3 V "
        f"(sudo i2cdetect -y {buses[-1]})"
    )
    return [MeterCandidate(setting=MeterSetting(kind="ina219", bus=buses[-1]), fault=nothing, is_absent=True)]


def _on_bus(bus: int, sys_root: Path, open_bus: Callable[[int, Path], OpenedBus]) -> Iterator[MeterCandidate]:
    try:
        opened = open_bus(bus, sys_root)
    except MeterError as error:
        yield MeterCandidate(setting=MeterSetting(kind="ina219", bus=bus), fault=str(error))
        return
    try:
        for address in _ADDRESSES:
            setting = MeterSetting(kind="ina219", bus=bus, address=address)
            try:
                high, low = opened.bus.read_i2c_block_data(address, 0, 2)
            except OSError as error:
                if error.errno == errno.EBUSY:
                    yield MeterCandidate(setting=setting, fault=owned_by_kernel(bus, address))
                continue
            yield MeterCandidate(setting=setting, fault=None if opened.is_stub else _stranger(high << 8 | low, setting))
    finally:
        opened.close()


def _stranger(config: int, setting: MeterSetting) -> str | None:
    """None where register 0 holds what an INA219 has after power-on, or what this agent writes there."""
    if config == POWER_ON_CONFIG or is_our_config(config):
        return None
    if config in _INA226_CONFIGS:
        return (
            f"register 0 holds {config:#06x}: an INA226, which the kernel's driver reads: echo ina226 "
            f'{setting.address:#04x} | sudo tee /sys/bus/i2c/devices/i2c-{setting.bus}/new_device, then kind = "hwmon"'
        )
    return (
        f"register 0 holds {config:#06x}, {POWER_ON_CONFIG:#06x} in an INA219 after power-on: another chip, or one "
        f"that another program has set up; nothing was written to it. Switch its supply off and on and look again"
    )
