"""A real driver on a register-level chip, which measures what a timeline says was drawn. Time is virtual."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from edgepareto.agent.power.ina219 import Ina219
from edgepareto.agent.power.power_meter import PowerSample
from edgepareto.agent.simulation.chip import Ina219Chip
from edgepareto.agent.simulation.profile import Supply
from edgepareto.agent.simulation.timeline import TimelineReader, TimelineWriter, create_timeline

MS = 1_000_000
SUPPLY = Supply(open_circuit_v=5.1, source_ohm=0.05, shunt_ohm=0.1)


class VirtualClock:
    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)

    def start_batch(self) -> None:
        self._now_ns = 0


@dataclass
class ChipOnABus:
    """smbus2's two calls at 100 kHz. failing: errno of the transactions to come; hold_ready: CNVR stays 0."""

    chip: Ina219Chip
    clock: VirtualClock
    failing: list[int] = field(default_factory=list)
    hold_ready: bool = False

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        self._transact(i2c_addr)
        value = self.chip.read(register, self.clock.now_ns())
        if register == 2 and self.hold_ready:
            value &= 0xFFFD
        return [value >> 8, value & 0xFF][:length]

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        self._transact(i2c_addr)
        self.chip.write(register, data[0] << 8 | data[1], self.clock.now_ns())

    def _transact(self, address: int) -> None:
        assert address == 0x40
        self.clock.sleep(0.48e-3)
        if self.failing and (code := self.failing.pop(0)):
            raise OSError(code, "no answer")


@dataclass
class Bench:
    meter: Ina219
    bus: ChipOnABus
    clock: VirtualClock
    segments: list[tuple[int, float]]

    def window(self, seconds: float) -> list[PowerSample]:
        """Samples of one window, from begin to end."""
        until_ns = self.clock.now_ns() + round(seconds * 1e9)
        self.meter.begin_window()
        samples = []
        while self.clock.now_ns() < until_ns:
            samples.append(self.meter.read())
        self.meter.end_window()
        return samples

    def true_mean_w(self, start_ns: int, end_ns: int) -> float:
        energy, before_ns = 0.0, 0
        for until_ns, power_w in self.segments:
            energy += power_w * max(0, min(until_ns, end_ns) - max(before_ns, start_ns))
            before_ns = until_ns
        return energy / (end_ns - start_ns)

    def relative_error(self, samples: Sequence[PowerSample]) -> float:
        """Of the time-weighted mean from the first sample's end to the last one's."""
        stamps = [sample.timestamp_ns for sample in samples]
        energy = sum(
            sample.power_w * (stamp - before)
            for sample, before, stamp in zip(samples[1:], stamps, stamps[1:], strict=False)
        )
        true_w = self.true_mean_w(stamps[0], stamps[-1])
        return energy / (stamps[-1] - stamps[0]) / true_w - 1


BenchOf = Callable[..., Bench]


@pytest.fixture
def bench_of(tmp_path: Path) -> BenchOf:
    """segments: (end in ns, watts), in order."""

    def build(segments: Iterable[tuple[int, float]], *, chip_clock: float = 1.0, supply: Supply = SUPPLY) -> Bench:
        listed = list(segments)
        path = tmp_path / "timeline"
        create_timeline(path)
        writer = TimelineWriter(path)
        for end_ns, power_w in listed:
            writer.append(end_ns, power_w)
        clock = VirtualClock()
        bus = ChipOnABus(Ina219Chip(TimelineReader(path, supply), clock_factor=chip_clock), clock)
        return Bench(Ina219(bus, 0x40, supply.shunt_ohm, clock), bus, clock, listed)

    return build
