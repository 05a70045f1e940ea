"""Something that tells how many watts the board draws, as the sampler sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

__all__ = ["MeterDescription", "MeterQuality", "PowerMeter", "PowerSample"]


class MeterQuality(str, Enum):
    MEASURED = "measured"
    COUNTER = "counter"
    ESTIMATE = "estimate"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterDescription:
    """fault: the self-test failed, the meter cannot be used, and why."""

    kind: str
    quality: MeterQuality
    address: int | None = None
    shunt_ohm: float | None = None
    config: int | None = None
    calibration: int | None = None
    rail: str | None = None
    fault: str | None = None


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
    `end_window` raises where they no longer are. Raises MeterError with its verdict.
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
