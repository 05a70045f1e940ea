"""Something that tells how many watts the board draws, as the sampler sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

__all__ = ["MeterDescription", "MeterQuality", "MeterSetting", "PowerMeter", "PowerSample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterSetting:
    """Which meter the sampler opens: a registered kind and where it sits.

    bus, address, shunt_ohm: of a chip on I2C; hwmon compares shunt_ohm with the kernel's. chip: of hwmon, by its name.
    rail: of hwmon and jetson, by its label. None: there is only one, or the one that feeds the whole board.
    """

    kind: str
    bus: int = 1
    address: int = 0x40
    shunt_ohm: float = 0.1
    rail: str | None = None
    chip: str | None = None


class MeterQuality(str, Enum):
    MEASURED = "measured"
    COUNTER = "counter"
    ESTIMATE = "estimate"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterDescription:
    """config: the one that is in force, which changes when the range is fixed. tags: what every number made with it
    must carry. fault: the self-test failed, the meter cannot be used, and why. averaging_s: how far back one sample
    reaches at most, so that what lies less than that before a window may be in its first sample.
    """

    kind: str
    quality: MeterQuality
    address: int | None = None
    shunt_ohm: float | None = None
    config: int | None = None
    calibration: int | None = None
    rail: str | None = None
    fault: str | None = None
    tags: tuple[str, ...] = ()
    averaging_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSample:
    """timestamp_ns: the end of the averaging. bus_v None: this meter does not tell."""

    timestamp_ns: int
    power_w: float
    bus_v: float | None
    clipped: bool = False


class PowerMeter(Protocol):
    """One reader at a time. `read` blocks until a sample newer than the last one exists, at most `longest_gap_s`;
    it never returns the same conversion twice. Samples carry the clock's time at the end of their averaging.
    `begin_window` makes sure that the first sample after it lies behind it and that the settings are those described;
    `end_window` raises where they no longer are. `fix_range`, between windows, sets the range for all that follow by
    the samples of a window that saw the most that will be drawn; a meter with one range ignores it, and no range ever
    changes inside a window. Raises MeterError with its verdict.
    """

    @property
    def description(self) -> MeterDescription: ...
    @property
    def longest_gap_s(self) -> float: ...
    @property
    def i2c_errors(self) -> int: ...
    def begin_window(self) -> None: ...
    def read(self) -> PowerSample: ...
    def end_window(self) -> None: ...
    def fix_range(self, samples: Sequence[PowerSample]) -> None: ...
