"""What the sampler relies on, for every implementation of PowerMeter."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from edgepareto.agent.power import MeterQuality, MeterSetting, PowerMeter, open_meter
from edgepareto.agent.power.ina219 import Ina219
from edgepareto.agent.simulation import create_board
from edgepareto.agent.simulation.clock import LaggingClock
from fakes.power_trees import TreeClock, hwmon, ina3221_hwmon, ina3221_iio, rapl, vcgencmd

LOAD_W = 2.6


class PowerMeterContract:
    """Subclass and give a `meter` fixture on a board that draws LOAD_W for a minute of its clock's time."""

    def test_reads_the_load_within_half_a_percent(self, meter: PowerMeter):
        meter.begin_window()
        powers = [meter.read().power_w for _ in range(100)]
        assert sum(powers) / len(powers) == pytest.approx(LOAD_W, rel=0.005)
        meter.end_window()

    def test_never_returns_the_same_conversion_twice(self, meter: PowerMeter):
        stamps = [meter.read().timestamp_ns for _ in range(100)]
        assert stamps == sorted(set(stamps))

    def test_a_gap_between_samples_is_never_longer_than_it_says(self, meter: PowerMeter):
        meter.begin_window()
        stamps = [meter.read().timestamp_ns for _ in range(50)]
        assert max(after - before for before, after in pairwise(stamps)) <= meter.longest_gap_s * 1e9

    def test_says_what_it_is_and_that_it_works(self, meter: PowerMeter):
        assert meter.description.kind
        assert isinstance(meter.description.quality, MeterQuality)
        assert meter.description.fault is None
        assert meter.i2c_errors == 0

    def test_the_first_sample_of_a_window_lies_behind_its_beginning(self, meter: PowerMeter):
        meter.begin_window()
        last_ns = meter.read().timestamp_ns
        meter.end_window()
        meter.begin_window()
        assert meter.read().timestamp_ns > last_ns

    def test_once_the_range_is_fixed_it_reads_the_same_load(self, meter: PowerMeter):
        meter.begin_window()
        samples = [meter.read() for _ in range(20)]
        meter.end_window()
        meter.fix_range(samples)
        fixed = meter.description
        meter.begin_window()
        powers = [meter.read().power_w for _ in range(20)]
        meter.end_window()
        assert sum(powers) / len(powers) == pytest.approx(LOAD_W, rel=0.005)
        assert meter.description == fixed

    def test_windows_may_follow_each_other(self, meter: PowerMeter):
        for _ in range(3):
            meter.begin_window()
            assert meter.read().power_w == pytest.approx(LOAD_W, rel=0.005)
            meter.end_window()


class TestIna219OnTheSimulatedBus(PowerMeterContract):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> PowerMeter:
        board = create_board("raspberry-pi-4b", tmp_path)
        for _ in range(60):
            board.clock.sleep(1)
        return open_meter(MeterSetting(kind="ina219"), clock=LaggingClock(tmp_path), board=tmp_path)


class TestIna219OnTheKernelsStub(PowerMeterContract):
    @pytest.fixture
    def meter(self) -> PowerMeter:
        return Ina219(StubRegisters(), 0x40, 0.1, TreeClock(), quality=MeterQuality.SIMULATED, clears_ready=False)


class StubRegisters:
    """5.2 V and 50 mV at 0.1 ohm. What is written stays, the ready bit too."""

    def __init__(self) -> None:
        self._words = {0: 0x399F, 1: 5000, 2: 1300 << 3 | 0b10}

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        word = self._words.get(register, 0)
        return [word >> 8, word & 0xFF]

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        self._words[register] = data[0] << 8 | data[1]


def counting(path: Path) -> TreeClock:
    """A clock whose passing moves a counter of microjoules."""
    return TreeClock(lambda now_ns: path.write_text(f"{round(now_ns * LOAD_W / 1e3)}\n"))


class TestHwmonOnAFakeSysfsTree(PowerMeterContract):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> PowerMeter:
        hwmon(tmp_path, 4, "ina226", {"power1_input": 2_600_000, "in1_input": 5003, "update_interval": 35})
        return open_meter(MeterSetting(kind="hwmon"), clock=TreeClock(), sys_root=tmp_path)


class TestHwmonEnergyCounterOnAFakeSysfsTree(PowerMeterContract):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> PowerMeter:
        folder = hwmon(tmp_path, 0, "ina228", {"energy1_input": 0, "shunt_resistor": 15_000})
        setting = MeterSetting(kind="hwmon", chip="ina228", shunt_ohm=0.015)
        return open_meter(setting, clock=counting(folder / "energy1_input"), sys_root=tmp_path)


class TestJetsonRailsOnAFakeSysfsTree(PowerMeterContract):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> PowerMeter:
        ina3221_hwmon(tmp_path, 2, [("VDD_IN", 5000, 520), ("VDD_SOC", 5000, 90)], interval_ms=70)
        return open_meter(MeterSetting(kind="jetson"), clock=TreeClock(), sys_root=tmp_path)


class TestJetsonRailsOfJetPack4OnAFakeSysfsTree(PowerMeterContract):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> PowerMeter:
        ina3221_iio(tmp_path, "6-0040", [("POM_5V_IN", 5000, 520), ("POM_5V_GPU", 5000, 10)])
        return open_meter(MeterSetting(kind="jetson"), clock=TreeClock(), sys_root=tmp_path)


class TestPi5PmicOnAFakeTree(PowerMeterContract):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> PowerMeter:
        vcgencmd(tmp_path, "VDD_CORE_A current(7)=2.60000000A\nVDD_CORE_V volt(15)=1.00000000V")
        return open_meter(MeterSetting(kind="pi5_pmic"), clock=TreeClock(), sys_root=tmp_path)


class TestRaplOnAFakeSysfsTree(PowerMeterContract):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> PowerMeter:
        zone = rapl(tmp_path, 0)
        return open_meter(MeterSetting(kind="rapl"), clock=counting(zone / "energy_uj"), sys_root=tmp_path)
