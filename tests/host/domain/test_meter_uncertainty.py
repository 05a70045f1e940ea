"""What is stated of a meter holds on a register-level chip that is as wrong as its datasheet allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from edgepareto.agent.power.ina219 import Ina219
from edgepareto.agent.simulation.chip import CurrentSource, Ina219Chip
from edgepareto.agent.simulation.profile import Supply
from edgepareto.host.domain import JobEnergy, Meter, MeterQuality, PowerWindow, reduce_trace
from edgepareto.host.domain.meter_uncertainty import meter_error
from fakes.jobs import TRACE

SUPPLY = Supply(open_circuit_v=5.1, source_ohm=0.05, shunt_ohm=0.1)
MS = 1_000_000
INFERENCES = 100


class VirtualClock:
    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)

    def start_batch(self) -> None:
        self._now_ns = 0


@dataclass(frozen=True)
class Steady:
    """A current that does not change."""

    current_a: float
    supply: Supply = SUPPLY

    def mean_current_a(self, start_ns: float, end_ns: float) -> float:
        return self.current_a


@dataclass(frozen=True)
class Sine:
    """offset + amplitude x sin, its mean over any stretch of time in closed form."""

    offset_a: float
    amplitude_a: float
    period_ns: float
    supply: Supply

    def mean_current_a(self, start_ns: float, end_ns: float) -> float:
        turn = 2 * np.pi / self.period_ns
        return float(
            self.offset_a
            + self.amplitude_a * (np.cos(turn * start_ns) - np.cos(turn * end_ns)) / (turn * (end_ns - start_ns))
        )


@dataclass
class Bus:
    chip: Ina219Chip
    clock: VirtualClock

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        self.clock.sleep(0.48e-3)
        value = self.chip.read(register, self.clock.now_ns())
        return [value >> 8, value & 0xFF]

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        self.clock.sleep(0.48e-3)
        self.chip.write(register, data[0] << 8 | data[1], self.clock.now_ns())


def measured(busy: Ina219Chip, idle: Ina219Chip | None = None, seconds: float = 0.3) -> JobEnergy:
    """What the host makes of one idle and one busy window that the driver sampled."""
    windows = []
    for is_busy, chip in ((False, idle), (True, busy)):
        if chip is None:
            continue
        clock = VirtualClock()
        meter = Ina219(Bus(chip, clock), 0x40, SUPPLY.shunt_ohm, clock)
        meter.begin_window()
        start_ns = clock.now_ns()
        samples = []
        while clock.now_ns() < start_ns + seconds * 1e9:
            samples.append(meter.read())
        windows.append(
            PowerWindow(
                busy=is_busy,
                round=0,
                start_ns=start_ns,
                end_ns=start_ns + round(seconds * 1e9),
                inferences=INFERENCES if is_busy else 0,
                timestamp_ns=tuple(sample.timestamp_ns for sample in samples),
                power_uw=tuple(round(sample.power_w * 1e6) for sample in samples),
                bus_uv=tuple(round((sample.bus_v or 0) * 1e6) for sample in samples),
            )
        )
        described = meter.description
    chip_of_the_job = Meter(
        kind=described.kind,
        quality=MeterQuality.SIMULATED,
        shunt_ohm=described.shunt_ohm,
        config=described.config,
    )
    energy = reduce_trace(replace(TRACE, windows=tuple(windows), meter=chip_of_the_job)).energy
    assert energy is not None
    return energy


def test_the_stated_uncertainty_covers_the_error_of_chips_as_wrong_as_their_datasheet_allows() -> None:
    """T14: shunt 1 %, gain 0.5 % and, at PGA /8, 200 uV of offset, anywhere within, in 200 chips; k = 2."""
    random = np.random.default_rng(14)
    total, dynamic = [], []
    for _ in range(200):
        idle_a, busy_a = random.uniform(0.3, 0.5), random.uniform(0.6, 1.4)
        wrong = {
            "shunt_offset_v": random.uniform(-200e-6, 200e-6),
            "gain": 1 + random.uniform(-0.005, 0.005),
            "shunt_ohm_error": random.uniform(-0.01, 0.01),
        }
        energy = measured(Ina219Chip(Steady(busy_a), **wrong), Ina219Chip(Steady(idle_a), **wrong), 0.05)
        busy_w, idle_w = (SUPPLY.bus_v(current) * current for current in (busy_a, idle_a))
        per_inference = 0.05 / INFERENCES
        total.append(energy.total_j.low <= busy_w * per_inference <= energy.total_j.high)
        assert energy.dynamic_j is not None
        dynamic.append(energy.dynamic_j.low <= (busy_w - idle_w) * per_inference <= energy.dynamic_j.high)
    assert np.mean(total) >= 0.95
    assert np.mean(dynamic) >= 0.95


def test_the_statement_is_not_padded_the_worst_chips_reach_most_of_it() -> None:
    worst = {"shunt_offset_v": 200e-6, "gain": 1.005, "shunt_ohm_error": 0.01}
    energy = measured(Ina219Chip(Steady(0.8), **worst))
    true_j = SUPPLY.bus_v(0.8) * 0.8 * 0.3 / INFERENCES
    assert energy.systematic_j is not None
    assert energy.systematic_j / true_j == pytest.approx(0.0145, abs=0.001)
    assert 0.8 < (energy.total_j.value - true_j) / energy.systematic_j < 1.5


@pytest.mark.parametrize("period_ms", [500, 1000, 2000])
def test_what_means_of_voltage_and_current_would_read_too_much_is_reported(period_ms: int) -> None:
    """T7: the supply sags by R_sag x I, so mean(V) x mean(I) is too high by R_sag x Var(I): that within 0.2 %."""
    supply = replace(SUPPLY, source_ohm=0.3)
    source: CurrentSource = Sine(0.8, 0.5, period_ms * MS, supply)
    energy = measured(Ina219Chip(source), seconds=2.0)
    expected_w = supply.resistance_ohm * 0.5**2 / 2
    assert energy.means_bias_w == pytest.approx(expected_w, rel=0.002)
    assert expected_w > 0.01 * energy.mean_power_w  # an error of more than 1 %, were the means multiplied


@pytest.mark.parametrize(
    ("config", "offset_a"), [(0x019F, 1e-3), (0x099F, 1.25e-3), (0x119F, 1.5e-3), (0x19DF, 2e-3), (None, 2e-3)]
)
def test_the_offset_is_that_of_the_range_in_the_config_word(config: int | None, offset_a: float) -> None:
    """SBOS448G 7.5, grade A: 100, 125, 150, 200 uV at PGA /1 to /8, over 0.1 ohm; without a word the widest."""
    found = meter_error(Meter(kind="ina219", quality=MeterQuality.MEASURED, shunt_ohm=0.1, config=config))
    assert found is not None
    assert found.offset_a == pytest.approx(2 / 3**0.5 * offset_a)


def test_a_chip_of_the_kernel_s_driver_is_known_by_its_rail_and_others_state_nothing() -> None:
    def of(kind: str, rail: str | None = None) -> float | None:
        found = meter_error(Meter(kind=kind, quality=MeterQuality.MEASURED, shunt_ohm=0.01, rail=rail))
        return None if found is None else found.gain

    assert of("hwmon", "ina226 at 0x40") == pytest.approx(2 / 3**0.5 * 0.01035, rel=1e-3)
    assert of("hwmon", "max34407") is None
    assert of("jetson", "VDD_IN") is None
    assert of("rapl", "package-0") is None
