"""T4 and T5: the INA219 driver on a chip model that measures square waves, and a naive 10 Hz sampler beside it.

Time is virtual. The driver is the product's, the registers are the simulated chip's, the truth is the wave's own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgepareto.agent.power.ina219 import Ina219
from edgepareto.agent.simulation.chip import Ina219Chip
from edgepareto.agent.simulation.profile import Supply
from measurement_verdict import Verdict

__all__ = ["square_waves"]

CHIP_CLOCKS = (0.95, 1.0, 1.1)
PERIODS_MS = (1, 2, 3.7, 5, 10, 20, 47, 100, 230, 500)
DUTIES = (0.2, 0.5, 0.8)
LOW_W, HIGH_W = 2.6, 5.4  # a Pi 4B at rest and with all cores busy
TRANSACTION_S = 0.48e-3  # at 100 kHz
SUPPLY = Supply(open_circuit_v=5.1, source_ohm=0.05, shunt_ohm=0.1)
# Seconds of the window: worst and root mean square error allowed.
BARS = {5.0: (0.010, 0.004), 2.0: (0.025, math.inf)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareWave:
    period_ns: float
    duty: float
    phase: float
    supply: Supply = SUPPLY

    def mean_current_a(self, start_ns: float, end_ns: float) -> float:
        high = self._share_high(start_ns, end_ns)
        return high * self.supply.current_a(HIGH_W) + (1 - high) * self.supply.current_a(LOW_W)

    def mean_power_w(self, start_ns: float, end_ns: float) -> float:
        return LOW_W + (HIGH_W - LOW_W) * self._share_high(start_ns, end_ns)

    def _share_high(self, start_ns: float, end_ns: float) -> float:
        return (self._high_until(end_ns) - self._high_until(start_ns)) / (end_ns - start_ns)

    def _high_until(self, at_ns: float) -> float:
        cycles, rest = divmod(at_ns / self.period_ns + self.phase, 1.0)
        return self.period_ns * (cycles * self.duty + min(rest, self.duty))


class VirtualClock:
    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)

    def start_batch(self) -> None:
        self._now_ns = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipOnABus:
    """smbus2's two calls at 100 kHz."""

    chip: Ina219Chip
    clock: VirtualClock

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        self.clock.sleep(TRANSACTION_S)
        value = self.chip.read(register, self.clock.now_ns())
        return [value >> 8, value & 0xFF][:length]

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        self.clock.sleep(TRANSACTION_S)
        self.chip.write(register, data[0] << 8 | data[1], self.clock.now_ns())


def square_waves() -> list[Verdict]:
    """Worst and root mean square error over all waves, per chip clock; T5 is passed when the naive sampler fails."""
    verdicts = []
    for seconds, (worst_bar, rms_bar) in BARS.items():
        for factor in CHIP_CLOCKS:
            worst, rms = _errors(factor, seconds, _paced)
            bar = f"worst <= {worst_bar:.1%}" + (f", rms <= {rms_bar:.1%}" if rms_bar < 1 else "")
            verdicts.append(
                Verdict(
                    check=f"T4 {seconds:.0f} s windows, chip clock x{factor}",
                    seen=f"worst {worst:.2%}, rms {rms:.2%}",
                    bar=bar,
                    passed=worst <= worst_bar and rms <= rms_bar,
                )
            )
    naive = [_errors(factor, 5.0, _polled_at_10_hz) for factor in CHIP_CLOCKS]
    seen = f"worst {max(worst for worst, _ in naive):.1%}, rms {max(rms for _, rms in naive):.1%}"
    failing = all(worst > BARS[5.0][0] for worst, _ in naive)
    return [*verdicts, Verdict(check="T5 the same polled at 10 Hz", seen=seen, bar="must fail T4", passed=failing)]


def _errors(factor: float, seconds: float, measure: Callable[[SquareWave, float, float], float]) -> tuple[float, float]:
    errors = [measure(wave, factor, seconds) for wave in _waves()]
    return max(map(abs, errors)), math.sqrt(sum(error**2 for error in errors) / len(errors))


def _waves() -> Iterator[SquareWave]:
    draw = random.Random(7)
    for period_ms in PERIODS_MS:
        for duty in DUTIES:
            yield SquareWave(period_ns=period_ms * 1e6, duty=duty, phase=draw.random())


def _paced(wave: SquareWave, factor: float, seconds: float) -> float:
    """Relative error of the product's driver, from the first sample's end to the last one's."""
    clock = VirtualClock()
    meter = Ina219(ChipOnABus(chip=Ina219Chip(wave, clock_factor=factor), clock=clock), 0x40, 0.1, clock)
    meter.begin_window()
    samples = [meter.read()]
    while clock.now_ns() - samples[0].timestamp_ns < seconds * 1e9:
        samples.append(meter.read())
    stamps = [sample.timestamp_ns for sample in samples]
    energy = sum(
        s.power_w * (after - before) for s, before, after in zip(samples[1:], stamps, stamps[1:], strict=False)
    )
    return energy / (stamps[-1] - stamps[0]) / wave.mean_power_w(stamps[0], stamps[-1]) - 1


def _polled_at_10_hz(wave: SquareWave, factor: float, seconds: float) -> float:
    """Relative error of the mean of readings taken every 100 ms, whatever conversion is there."""
    clock = VirtualClock()
    chip = Ina219Chip(wave, clock_factor=factor)
    Ina219(ChipOnABus(chip=chip, clock=clock), 0x40, 0.1, clock)  # the same configuration
    start_ns = clock.now_ns()
    powers = []
    while clock.now_ns() < start_ns + seconds * 1e9:
        clock.sleep(0.1)
        shunt, bus = chip.read(1, clock.now_ns()), chip.read(2, clock.now_ns())
        powers.append((bus >> 3) * 4e-3 * shunt * 10e-6 / 0.1)
    return sum(powers) / len(powers) / wave.mean_power_w(start_ns, clock.now_ns()) - 1
