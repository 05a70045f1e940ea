"""How hot the board is, at what temperature its kernel slows it down, and how fast its fan turns.

Kernel: driver-api/thermal/sysfs-api, hwmon/sysfs-interface.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgepareto.agent.conditions.raspberry_pi import throttles_at_c
from edgepareto.agent.conditions.reading import natural, number, text

__all__ = ["read_fan_level", "read_temperature_c", "throttle_temperature_c"]

ABSENT_C = -100.0  # Orin tells -256 of a GPU that is off, other drivers -273 or -274 of a trip point that is not set
NO_SENSOR = frozenset({"PMIC-Die"})  # Nano to Xavier: a fixed 100 degrees (NVIDIA's forum, thermal-zone4, 44422)
CPU_ZONE = re.compile(r"cpu|soc|core|x86_pkg", re.IGNORECASE)
FAN = re.compile("fan", re.IGNORECASE)  # pwm-fan, gpio-fan, rpi-poe-fan; ACPI's Fan; the monitor of a pwm-fan is pwmfan


def read_temperature_c(sys_root: Path) -> float | None:
    """The hottest thermal zone."""
    temperatures = [
        celsius
        for zone in _zones(sys_root)
        if text(zone / "type") not in NO_SENSOR and (celsius := _celsius(zone / "temp")) is not None
    ]
    return max(temperatures, default=None)


def throttle_temperature_c(sys_root: Path) -> float | None:
    """From where on the board slows its CPU: the lowest passive trip point of its CPU zones, else what is known of it.

    None: not told.
    """
    trips = [
        celsius
        for zone in _zones(sys_root)
        if CPU_ZONE.search(text(zone / "type") or "")
        for kind in sorted(zone.glob("trip_point_*_type"))
        if text(kind) == "passive"
        and (celsius := _celsius(kind.with_name(kind.name.replace("_type", "_temp")))) is not None
        and celsius > 0  # an x86 package's trip point is 0 until somebody sets it
    ]
    return min(trips) if trips else throttles_at_c(sys_root)


def read_fan_level(sys_root: Path) -> int | None:
    """The fastest fan's cooling state, 0 off; where a board shows only the duty of its fan, that, 0 to 255."""
    states = [
        state
        for device in (sys_root / "sys/class/thermal").glob("cooling_device*")
        if FAN.search(text(device / "type") or "") and (state := natural(device / "cur_state")) is not None
    ]
    duties = [
        duty
        for monitor in (sys_root / "sys/class/hwmon").glob("hwmon*")
        if FAN.search(text(monitor / "name") or "") and (duty := natural(monitor / "pwm1")) is not None
    ]
    jetpack_4 = natural(sys_root / "sys/devices/pwm-fan/cur_pwm")
    return max(states, default=max(duties, default=jetpack_4))


def _zones(sys_root: Path) -> Iterator[Path]:
    yield from sorted((sys_root / "sys/class/thermal").glob("thermal_zone*"))


def _celsius(path: Path) -> float | None:
    """From the kernel's millidegrees."""
    value = number(path)
    return None if value is None or value / 1000 < ABSENT_C else value / 1000
