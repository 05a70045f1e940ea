"""The INA219 at register level, as a pure function of the current that flows, and the I2C bus it sits on.

Written from the datasheet (TI SBOS448) and not from the driver: what one has wrong the other shows.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgepareto.agent.clock import Clock
from edgepareto.agent.simulation.board_file import BoardSettings, read_settings
from edgepareto.agent.simulation.clock import LaggingClock
from edgepareto.agent.simulation.profile import Supply

__all__ = ["TRANSACTION_NS", "CurrentSource", "Ina219Chip", "SimulatedBus"]

# Address, register, repeated start, address, two data bytes: 5 x 9 bits with start and stop, at 100 kHz.
TRANSACTION_NS = 480_000

_ADDRESS = 0x40  # Table 1: both address pins at ground
# Of the faults that faults.py describes.
_STALL_NS = 50_000_000
_STALLS_EVERY_NS = 500_000_000
_ERRORS_EVERY_NS = 50_000_000
_RESETS_EVERY_NS = 1_000_000_000
_SELF_TEST_NS = 10_000_000  # which is at the start, and passes

_CONFIG, _SHUNT, _BUS, _POWER, _CURRENT, _CALIBRATION = range(6)
_POWER_ON = 0x399F
_RESET_BIT = 0x8000
# Table 5, by the low two bits (one sample of 9 to 12 bit) or, with bit 3 set, by the low three (2 to 128 samples).
_SINGLE_NS = (84_000, 148_000, 276_000, 532_000)
_AVERAGED_NS = (532_000, 1_060_000, 2_130_000, 4_260_000, 8_510_000, 17_020_000, 34_050_000, 68_100_000)
_GAIN_MV = (40, 80, 160, 320)


class CurrentSource(Protocol):
    """What flows through the shunt, and the supply it comes from."""

    @property
    def supply(self) -> Supply: ...
    def mean_current_a(self, start_ns: float, end_ns: float) -> float: ...


class Ina219Chip:
    """Registers at an instant. clock_factor: how fast this chip's oscillator runs, 0.9 to 1.1 by the datasheet.

    shunt_offset_v, gain: what it adds to the shunt's voltage and multiplies it by; section 7.5 allows an INA219A at
    most 100, 125, 150, 200 uV at PGA /1, /2, /4, /8, and 0.5 %. shunt_ohm_error: relative, of the resistor itself.

    Converts shunt, then bus, for ever; both show up together at the end, when the ready bit is set. Only the continuous
    mode of both is modelled. Instants may go back: nothing but the last write and the last cleared conversion is kept.
    """

    def __init__(
        self,
        source: CurrentSource,
        *,
        clock_factor: float = 1.0,
        shunt_offset_v: float = 0.0,
        gain: float = 1.0,
        shunt_ohm_error: float = 0.0,
    ) -> None:
        self._source = source
        self._clock_factor = clock_factor
        self._shunt_offset_v = shunt_offset_v
        self._gain = gain
        self._shunt_ohm = source.supply.shunt_ohm * (1 + shunt_ohm_error)
        self._reset(0)

    def write(self, register: int, value: int, at_ns: int) -> None:
        if register == _CONFIG and value & _RESET_BIT:
            self._reset(at_ns)
        elif register == _CONFIG:
            self._config = value
            self._start_converting(at_ns)
        elif register == _CALIBRATION:
            self._calibration = value & 0xFFFE  # bit 0 cannot be set (section 8.6.4)

    def read(self, register: int, at_ns: int) -> int:
        if register == _CONFIG:
            return self._config
        if register == _CALIBRATION:
            return self._calibration
        conversion = self._conversion_at(at_ns)
        shunt, bus = self._conversion(conversion)
        current = _clamped(shunt * self._calibration // 4096)
        power = abs(current) * bus // 5000
        if register == _SHUNT:
            return shunt & 0xFFFF
        if register == _CURRENT:
            return current & 0xFFFF
        if register == _POWER:
            self._cleared = conversion
            return power & 0xFFFF
        ready = conversion >= 0 and conversion != self._cleared
        overflow = power > 0xFFFF
        return bus << 3 | ready << 1 | overflow

    def reset(self, at_ns: int) -> None:
        """What a steep load step can do: power-on settings, in which the calibration is 0."""
        self._reset(at_ns)

    def _reset(self, at_ns: int) -> None:
        self._config = _POWER_ON
        self._calibration = 0
        self._start_converting(at_ns)

    def _start_converting(self, at_ns: int) -> None:
        self._started_ns = at_ns
        self._cleared = -1
        self._latched: tuple[int, tuple[int, int]] | None = None
        self._shunt_ns = _conversion_ns(self._config >> 3) / self._clock_factor
        self._bus_ns = _conversion_ns(self._config >> 7) / self._clock_factor

    def _conversion_at(self, at_ns: int) -> int:
        """The number of the last finished conversion, -1 before the first."""
        return int((at_ns - self._started_ns) // (self._shunt_ns + self._bus_ns)) - 1

    def _conversion(self, number: int) -> tuple[int, int]:
        if number < 0:
            return 0, 0
        if self._latched is None or self._latched[0] != number:
            start_ns = self._started_ns + number * (self._shunt_ns + self._bus_ns)
            between_ns = start_ns + self._shunt_ns
            shunt_v = self._source.mean_current_a(start_ns, between_ns) * self._shunt_ohm
            bus_v = self._source.supply.bus_v(self._source.mean_current_a(between_ns, between_ns + self._bus_ns))
            full_scale = _GAIN_MV[self._config >> 11 & 3] * 100
            seen_v = self._gain * shunt_v + self._shunt_offset_v
            shunt = max(-full_scale, min(full_scale, round(seen_v / 10e-6)))
            bus_range_v = 32.0 if self._config >> 13 & 1 else 16.0
            self._latched = number, (shunt, round(min(bus_v, bus_range_v) / 4e-3))
        return self._latched[1]


class SimulatedBus:
    """The I2C bus of a board folder with one INA219 on it, shaped like smbus2.SMBus.

    Each transaction takes its time on the wire, on the sampler's clock; reading a measured value waits until the
    timeline covers that instant.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        # Opened without sampling, as for a self-test, the bus keeps a time of its own.
        self._clock = clock if isinstance(clock, LaggingClock) else LaggingClock(folder)
        settings = read_settings(folder)
        self._faults = settings.faults
        self._chip = Ina219Chip(
            self._clock.timeline,
            clock_factor=self._faults.chip_clock or _clock_factor(settings),
            shunt_offset_v=self._faults.meter_offset_v,
            gain=self._faults.meter_gain,
        )
        self._resets = 0

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        now_ns = self._transact(i2c_addr)
        if register not in (_CONFIG, _CALIBRATION):
            self._clock.wait_for_timeline()
        value = self._chip.read(register, now_ns)
        if register == _BUS and self._faults.meter_stuck:
            value &= ~0b10
        return [value >> 8, value & 0xFF][:length]

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        now_ns = self._transact(i2c_addr)
        self._chip.write(register, data[0] << 8 | data[1], now_ns)

    def _transact(self, address: int) -> int:
        """Let a transaction's time pass. Faults go by time and not by count: how far the sampler runs on behind a stop
        is an accident.
        """
        self._clock.sleep(TRANSACTION_NS / 1e9)
        now_ns = self._clock.now_ns()
        if self._faults.bus_stalls and now_ns % _STALLS_EVERY_NS < _STALL_NS:
            self._clock.sleep((_STALL_NS - now_ns % _STALLS_EVERY_NS) / 1e9)
            now_ns = self._clock.now_ns()
        fails = now_ns > _SELF_TEST_NS and now_ns % _ERRORS_EVERY_NS < self._faults.i2c_error * TRANSACTION_NS
        if address != _ADDRESS or fails:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        if self._faults.meter_reset and now_ns // _RESETS_EVERY_NS != self._resets:
            self._resets = now_ns // _RESETS_EVERY_NS
            self._chip.reset(now_ns)
        return now_ns


def _clock_factor(settings: BoardSettings) -> float:
    """Of the chip on this board: within the datasheet's 10 %, by the board's seed."""
    return 0.9 + 0.2 * int.from_bytes(settings.digest("chip clock")[:8], "little") / 2**64


def _conversion_ns(setting: int) -> int:
    return _AVERAGED_NS[setting & 7] if setting & 8 else _SINGLE_NS[setting & 3]


def _clamped(value: int) -> int:
    return max(-0x8000, min(0x7FFF, value))
