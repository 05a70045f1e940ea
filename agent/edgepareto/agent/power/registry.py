"""Meters by name. A back end's library is imported when that meter is chosen."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import ConfigError
from edgepareto.agent.power.hwmon import Hwmon
from edgepareto.agent.power.i2c import open_i2c, refused_by_kernel_driver
from edgepareto.agent.power.ina219 import I2cBus, Ina219
from edgepareto.agent.power.jetson_rails import JetsonRails
from edgepareto.agent.power.pi5_pmic import Pi5Pmic
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, MeterSetting, PowerMeter
from edgepareto.agent.power.rapl import Rapl

__all__ = ["METER_KINDS", "checked_kind", "describe_fault", "open_meter"]

METER_KINDS = ("ina219", "hwmon", "jetson", "pi5_pmic", "rapl")
_QUALITIES = {"pi5_pmic": MeterQuality.ESTIMATE, "rapl": MeterQuality.COUNTER}


class _SimulatedChip(Protocol):
    """edgepareto.agent.simulation.chip, which no room imports."""

    SimulatedBus: Callable[[Path, Clock], I2cBus]


def open_meter(
    setting: MeterSetting, *, clock: Clock, board: Path | None = None, sys_root: Path = Path("/")
) -> PowerMeter:
    """Open a meter and test that it answers.

    board: the folder of a simulated board, whose clock `clock` is. sys_root: above sys/, dev/ and usr/ of a real one.
    Raises ConfigError for a kind that is not in METER_KINDS, MeterError where the meter cannot be used.
    """
    kind = checked_kind(setting.kind)
    if kind == "ina219":
        return _open_ina219(setting, clock, board, sys_root)
    if kind == "hwmon":
        return Hwmon(sys_root, clock, setting)
    if kind == "jetson":
        return JetsonRails(sys_root, clock, rail=setting.rail)
    if kind == "pi5_pmic":
        return Pi5Pmic(sys_root, clock)
    return Rapl(sys_root, clock)


def checked_kind(kind: str, *more: str) -> str:
    """more: further names that are allowed here. Raises ConfigError with the known ones and the nearest."""
    known = (*METER_KINDS, *more)
    if kind in known:
        return kind
    near = difflib.get_close_matches(kind.lower(), known, n=1, cutoff=0.5)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"no meter is called {kind!r}: known are {', '.join(known)}{meant}")


def describe_fault(setting: MeterSetting, *, simulated: bool, fault: str) -> MeterDescription:
    """A meter that is configured and cannot be used."""
    quality = _QUALITIES.get(setting.kind, MeterQuality.MEASURED)
    on_i2c = setting.kind == "ina219"
    return MeterDescription(
        kind=setting.kind,
        quality=MeterQuality.SIMULATED if simulated else quality,
        address=setting.address if on_i2c else None,
        shunt_ohm=setting.shunt_ohm if on_i2c else None,
        rail=setting.rail,
        fault=fault,
    )


def _open_ina219(setting: MeterSetting, clock: Clock, board: Path | None, sys_root: Path) -> Ina219:
    if board is not None:
        chip = cast(_SimulatedChip, importlib.import_module("edgepareto.agent.simulation.chip"))
        bus = chip.SimulatedBus(board, clock)
        return Ina219(bus, setting.address, setting.shunt_ohm, clock, quality=MeterQuality.SIMULATED)
    opened = open_i2c(setting.bus, sys_root)
    with refused_by_kernel_driver(setting.bus, setting.address):
        return Ina219(
            opened.bus,
            setting.address,
            setting.shunt_ohm,
            clock,
            quality=MeterQuality.SIMULATED if opened.is_stub else MeterQuality.MEASURED,
            clears_ready=not opened.is_stub,
        )
