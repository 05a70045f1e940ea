"""The INA219 on I2C, read at the pace of its conversions.

Register map and constants: TI SBOS448 (INA219 datasheet), cited by table. The chip averages the current over eight
samples and takes one of the voltage, so that the current is integrated 89 % of the time (docs/measurement.md); polling
slower than it converts would see a fraction of that.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from math import trunc
from typing import Protocol, TypeVar

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, PowerSample

__all__ = ["CNVR_NOT_CLEARING", "CONFIG", "POWER_ON_CONFIG", "I2cBus", "Ina219", "calibration_word", "is_our_config"]

# Table 2: register addresses.
_CONFIG, _SHUNT, _BUS, _POWER, _CURRENT, _CALIBRATION = range(6)
POWER_ON_CONFIG = 0x399F
# Figure 19: bus range 16 V (b13 0), PGA /8 = 320 mV (b12:11 11), bus ADC 12 bit once (b10:7 0011), shunt ADC eight
# 12-bit samples averaged (b6:3 1011), shunt and bus continuously (b2:0 111). Ranging changes b13:11 alone.
CONFIG = 0x19DF
_RANGE_32_V = 1 << 13
_PGA_SHIFT = 11
_PGA_MASK = 0b11 << _PGA_SHIFT
# Table 4: full scale of the shunt by PGA, /1 first. The smaller the range the smaller its offset (section 6.5:
# 10 uV at /1, 40 uV at /8, typical), so the smallest that fits is taken.
_FULL_SCALE_V = (0.04, 0.08, 0.16, 0.32)
_HEAD_ROOM = 1.5  # over the highest reading of the ranging window, which is a mean of 4 ms
_BUS_FULL_SCALE_V = 16.0
_BUS_HEAD_ROOM_V = 0.5
# Table 5: 8 samples 4.26 ms, one of 12 bit 532 us, converted one after the other.
_CONVERSION_S = 4.26e-3 + 532e-6
# Section 6.5: conversion times are +-10 % between chips. Polling starts two transactions before the fastest is ready: a
# first poll that finds it ready already would not tell since when, and that lag would add up to missed conversions.
_SHORTEST_S = 0.9 * _CONVERSION_S
_TWO_TRANSACTIONS_S = 1e-3
# A stub has no conversions, so none can be missed: what is read too late is stamped as if it had been in time. It is
# found on emulated boards, where a transaction takes as long as a chip's conversion and a wait ends late by more.
_STUB_PACE_S = 20e-3
_SHUNT_LSB_V = 10e-6  # section 8.6.3.1: at every PGA setting
_BUS_LSB_V = 4e-3  # section 8.6.3.2, in bits 15:3
_CONVERSION_READY = 0b10  # of the bus register; cleared by reading the power register
_SCALE = 0.04096  # equation 1
_STUCK_S = 0.9

CNVR_NOT_CLEARING = "CNVR_NOT_CLEARING"  # conversions cannot be told apart: the registers are a stub's

_Result = TypeVar("_Result")


class I2cBus(Protocol):
    """The two calls of smbus2.SMBus that are used. The chip's words are big-endian, and these leave them so."""

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> Sequence[int]: ...
    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None: ...


def calibration_word(current_lsb_a: float, shunt_ohm: float) -> int:
    """Equation 1 of the datasheet: trunc(0.04096 / (current LSB x shunt))."""
    # Rounded first, since 0.04096 / (0.0001 * 0.1) is 4095.99... in binary.
    return trunc(round(_SCALE / (current_lsb_a * shunt_ohm), 6))


def is_our_config(word: int) -> bool:
    """Whether a chip's config register holds what this driver writes, at any range."""
    return word & ~(_RANGE_32_V | _PGA_MASK) == CONFIG & ~_PGA_MASK


class Ina219:
    """A PowerMeter. Power is bus voltage x shunt voltage / shunt, from the two readings of one conversion: the chip's
    own power register is the same product with a coarser rounding (20 current LSB) and is read only because that alone
    clears the ready bit.

    bus_v is behind the shunt, so the power is the board's and not the shunt's. The range is the widest until
    `fix_range`. clears_ready False: the registers are a stub's, whose ready bit tells nothing; the clock sets the pace.
    Raises MeterError(IO) where the chip does not answer, holds nothing, or does not keep what is written to it.
    """

    def __init__(
        self,
        bus: I2cBus,
        address: int,
        shunt_ohm: float,
        clock: Clock,
        *,
        quality: MeterQuality = MeterQuality.MEASURED,
        clears_ready: bool = True,
    ) -> None:
        self._bus = bus
        self._address = address
        self._shunt_ohm = shunt_ohm
        self._clock = clock
        self._config = CONFIG
        # One current LSB is one shunt LSB: the whole scale is used, and equation 1 gives 4096 for every shunt.
        self._calibration = calibration_word(_SHUNT_LSB_V / shunt_ohm, shunt_ohm)
        self._ready_ns: int | None = None
        self._i2c_errors = 0
        self._quality = quality
        self._clears_ready = clears_ready
        self._test()

    @property
    def description(self) -> MeterDescription:
        return MeterDescription(
            kind="ina219",
            quality=self._quality,
            address=self._address,
            shunt_ohm=self._shunt_ohm,
            config=self._config,
            calibration=self._calibration,
            tags=() if self._clears_ready else (CNVR_NOT_CLEARING,),
            averaging_s=_CONVERSION_S,
        )

    @property
    def longest_gap_s(self) -> float:
        return 1.0

    @property
    def i2c_errors(self) -> int:
        return self._i2c_errors

    def begin_window(self) -> None:
        """Write the settings again where the chip lost them since the last window, and drop the waiting conversion."""
        if self._settings() != (self._config, self._calibration):
            self._configure()
        self._read(_POWER)
        self._ready_ns = None

    def read(self) -> PowerSample:
        """The next conversion. Raises MeterError(STUCK) after 0.9 s without one, MeterError(IO) as the bus fails."""
        bus_raw = self._wait_for_conversion() if self._clears_ready else self._wait_for_the_clock()
        shunt_raw = _signed(self._read(_SHUNT))
        self._read(_POWER)
        assert self._ready_ns is not None
        shunt_v = shunt_raw * _SHUNT_LSB_V
        bus_v = (bus_raw >> 3) * _BUS_LSB_V
        return PowerSample(
            timestamp_ns=self._ready_ns,
            power_w=bus_v * (shunt_v / self._shunt_ohm),
            bus_v=bus_v,
            # The overflow bit speaks of the power register alone: at 4 A and 0.1 ohm a clean 3.2 A is read.
            clipped=_at_the_end(shunt_v, _FULL_SCALE_V[self._gain])
            or (bus_v >= _BUS_FULL_SCALE_V and not self._is_32_v),
        )

    def end_window(self) -> None:
        """Raises MeterError(RESET): a steep load step can reset the chip, which then measures with other settings."""
        config, calibration = self._settings()
        if (config, calibration) != (self._config, self._calibration):
            raise MeterError(
                MeterStatus.RESET,
                f"{self._name}: config is {config:#06x} and calibration {calibration:#06x} after the window, "
                f"{self._config:#06x} and {self._calibration:#06x} before it: the chip was reset; look at its supply",
            )

    def fix_range(self, samples: Sequence[PowerSample]) -> None:
        """The smallest range that is 1.5 times the highest of these samples; they may be of any range.

        Raises MeterError(CLIPPED) where they reach the end of the widest, MeterError(GAP) where there are none.
        """
        if not samples:
            raise MeterError(MeterStatus.GAP, f"{self._name}: no sample to choose the range by; make its window longer")
        bus_v = max(sample.bus_v or 0.0 for sample in samples)
        currents_a = [abs(sample.power_w / sample.bus_v) for sample in samples if sample.bus_v]
        shunt_v = max(currents_a, default=0.0) * self._shunt_ohm
        widest = len(_FULL_SCALE_V) - 1
        if _at_the_end(shunt_v, _FULL_SCALE_V[widest]):
            raise MeterError(
                MeterStatus.CLIPPED,
                f"{self._name}: the board draws {_FULL_SCALE_V[widest] / self._shunt_ohm:.2f} A or more, the end of "
                f"the widest range with shunt_ohm = {self._shunt_ohm}: use a smaller shunt",
            )
        fitting = (gain for gain, full_v in enumerate(_FULL_SCALE_V) if full_v >= _HEAD_ROOM * shunt_v)
        gain = widest if _at_the_end(shunt_v, _FULL_SCALE_V[self._gain]) else next(fitting, widest)
        range_v = _RANGE_32_V if bus_v > _BUS_FULL_SCALE_V - _BUS_HEAD_ROOM_V else 0
        self._config = CONFIG & ~_PGA_MASK | gain << _PGA_SHIFT | range_v
        self._configure()

    @property
    def _name(self) -> str:
        return f"INA219 at {self._address:#04x}"

    @property
    def _gain(self) -> int:
        return (self._config & _PGA_MASK) >> _PGA_SHIFT

    @property
    def _is_32_v(self) -> bool:
        return bool(self._config & _RANGE_32_V)

    def _test(self) -> None:
        """Look before anything is written: another chip may sit at this address."""
        if not any(self._read(register) for register in (_CONFIG, _SHUNT, _BUS, _POWER, _CURRENT, _CALIBRATION)):
            raise MeterError(
                MeterStatus.IO,
                f"{self._name}: all registers read 0, register 0 of a chip that has power {POWER_ON_CONFIG:#06x}: "
                f"look at its 3.3 V; a stub without a chip behind it must be filled first (i2cset)",
            )
        self._configure()
        config, calibration = self._settings()
        if (config, calibration) != (self._config, self._calibration):
            raise MeterError(
                MeterStatus.IO,
                f"{self._name}: config reads {config:#06x} and calibration {calibration:#06x} after writing "
                f"{self._config:#06x}, {self._calibration:#06x}: another chip sits at this address, or the wiring is "
                f"faulty",
            )

    def _wait_for_conversion(self) -> int:
        started_ns = self._clock.now_ns()
        if self._ready_ns is not None:
            since_last_s = (started_ns - self._ready_ns) / 1e9
            self._clock.sleep(max(0.0, _SHORTEST_S - _TWO_TRANSACTIONS_S - since_last_s))
        while True:
            before_ns = self._clock.now_ns()
            raw = self._read(_BUS)
            if raw & _CONVERSION_READY:
                # It became ready between two polls, one transaction apart.
                self._ready_ns = (before_ns + self._clock.now_ns()) // 2
                return raw
            waited_s = (before_ns - started_ns) / 1e9
            if waited_s > _STUCK_S:
                raise MeterError(
                    MeterStatus.STUCK,
                    f"{self._name}: no conversion became ready in {waited_s:.2f} s, one takes "
                    f"{_CONVERSION_S * 1e3:.2f} ms: switch its supply off and on",
                )

    def _wait_for_the_clock(self) -> int:
        now_ns = self._clock.now_ns()
        due_ns = (now_ns if self._ready_ns is None else self._ready_ns) + int(_STUB_PACE_S * 1e9)
        self._clock.sleep(max(0.0, (due_ns - now_ns) / 1e9))
        self._ready_ns = due_ns
        return self._read(_BUS)

    def _settings(self) -> tuple[int, int]:
        return self._read(_CONFIG), self._read(_CALIBRATION)

    def _configure(self) -> None:
        self._write(_CONFIG, self._config)
        self._write(_CALIBRATION, self._calibration)

    def _read(self, register: int) -> int:
        high, low = self._retried(lambda: self._bus.read_i2c_block_data(self._address, register, 2))
        return high << 8 | low

    def _write(self, register: int, value: int) -> None:
        self._retried(lambda: self._bus.write_i2c_block_data(self._address, register, [value >> 8, value & 0xFF]))

    def _retried(self, transaction: Callable[[], _Result]) -> _Result:
        """A missing acknowledge (errno 121) is tried again three times, anything else is the bus itself."""
        for retries_left in (3, 2, 1, 0):
            try:
                return transaction()
            except OSError as error:  # noqa: PERF203
                self._i2c_errors += 1
                if error.errno != errno.EREMOTEIO or not retries_left:
                    raise MeterError(
                        MeterStatus.IO,
                        f"{self._name}: {error.strerror or error} (errno {error.errno}), {3 - retries_left} retries: "
                        f"check wiring, address and pull-ups with i2cdetect",
                    ) from error
        raise AssertionError("the last attempt returns or raises")


def _signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word


def _at_the_end(shunt_v: float, full_scale_v: float) -> bool:
    return abs(shunt_v) >= full_scale_v - _SHUNT_LSB_V / 2  # half a step against binary rounding
