"""What the sampler relies on, for every implementation of PowerMeter."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from edgepareto.agent.power import MeterQuality, MeterSetting, PowerMeter, open_meter
from edgepareto.agent.simulation import create_board
from edgepareto.agent.simulation.clock import LaggingClock

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


class CounterClock:
    """Its passing moves the counter of a fake sysfs tree."""

    def __init__(self, counter: Path) -> None:
        self._counter = counter
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)
        self._counter.write_text(f"{round(self._now_ns * LOAD_W / 1e3)}\n")

    def start_batch(self) -> None:
        pass


class TestRaplOnAFakeSysfsTree(PowerMeterContract):
    @pytest.fixture
    def meter(self, tmp_path: Path) -> PowerMeter:
        zone = tmp_path / "sys/class/powercap/intel-rapl:0"
        zone.mkdir(parents=True)
        for name, text in [("name", "package-0"), ("max_energy_range_uj", "262143328850"), ("energy_uj", "0")]:
            (zone / name).write_text(text + "\n")
        return open_meter(MeterSetting(kind="rapl"), clock=CounterClock(zone / "energy_uj"), sys_root=tmp_path)
