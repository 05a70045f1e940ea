"""Meters by name. A back end's library is imported when that meter is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import ConfigError, MeterError, MeterStatus
from edgepareto.agent.power.ina219 import I2cBus, Ina219
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, PowerMeter
from edgepareto.agent.power.rapl import Rapl

__all__ = ["METER_KINDS", "describe_fault", "open_meter"]

METER_KINDS = ("ina219", "rapl")


class _SimulatedChip(Protocol):
    """edgepareto.agent.simulation.chip, which no room imports."""

    SimulatedBus: Callable[[Path, Clock], I2cBus]


def open_meter(
    kind: str,
    *,
    bus: int = 1,
    address: int = 0x40,
    shunt_ohm: float = 0.1,
    clock: Clock,
    board: Path | None = None,
    sys_root: Path = Path("/"),
) -> PowerMeter:
    """Open a meter and test that it answers.

    bus, address, shunt_ohm: of a chip on I2C. board: the folder of a simulated board, whose clock `clock` is.
    Raises ConfigError for a kind that is not in METER_KINDS, MeterError where the meter cannot be used.
    """
    if kind == "ina219":
        if board is None:
            return Ina219(_open_i2c(bus), address, shunt_ohm, clock)
        chip = cast(_SimulatedChip, importlib.import_module("edgepareto.agent.simulation.chip"))
        return Ina219(chip.SimulatedBus(board, clock), address, shunt_ohm, clock, quality=MeterQuality.SIMULATED)
    if kind == "rapl":
        return Rapl(sys_root, clock)
    raise ConfigError(f"no meter is called {kind!r}: known are {', '.join(METER_KINDS)}")


def describe_fault(kind: str, *, address: int, shunt_ohm: float, simulated: bool, fault: str) -> MeterDescription:
    """A meter that is configured and cannot be used."""
    quality = MeterQuality.COUNTER if kind == "rapl" else MeterQuality.MEASURED
    return MeterDescription(
        kind=kind,
        quality=MeterQuality.SIMULATED if simulated else quality,
        address=None if kind == "rapl" else address,
        shunt_ohm=None if kind == "rapl" else shunt_ohm,
        fault=fault,
    )


def _open_i2c(bus: int) -> I2cBus:
    try:
        smbus2 = importlib.import_module("smbus2")
    except ImportError as error:
        raise MeterError(MeterStatus.ABSENT, "smbus2 is not installed: pip install 'edgepareto[agent]'") from error
    try:
        return cast(I2cBus, smbus2.SMBus(bus))
    except FileNotFoundError as error:
        raise MeterError(
            MeterStatus.ABSENT, f"/dev/i2c-{bus} does not exist: switch I2C on (raspi-config, or the device tree)"
        ) from error
    except PermissionError as error:
        raise MeterError(
            MeterStatus.ABSENT, f"/dev/i2c-{bus} may not be opened: add the agent's user to group i2c"
        ) from error
