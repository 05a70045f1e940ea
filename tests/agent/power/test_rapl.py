from __future__ import annotations

from pathlib import Path

import pytest
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.rapl import Rapl

RANGE_UJ = 262_143_328_850


class Machine:
    """Packages that draw a constant power, as their counters show it. Sleeping lets the time pass."""

    def __init__(self, root: Path, watts: list[float], *, counter_uj: int = 1_000) -> None:
        self.watts = watts
        self.wrapped = 0
        self._now_ns = 0
        self._counters_uj = [float(counter_uj)] * len(watts)
        self._folders = [root / f"sys/class/powercap/intel-rapl:{package}" for package in range(len(watts))]
        for package, folder in enumerate(self._folders):
            core = folder.with_name(folder.name + ":0")
            for zone, name in [(folder, f"package-{package}"), (core, "core")]:
                zone.mkdir(parents=True)
                (zone / "name").write_text(name + "\n")
                (zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
                (zone / "energy_uj").write_text("77\n")
        self.sleep(0)

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)
        for package, folder in enumerate(self._folders):
            used = self._counters_uj[package] + self.watts[package] * seconds * 1e6
            self.wrapped += used >= RANGE_UJ
            self._counters_uj[package] = used % RANGE_UJ
            (folder / "energy_uj").write_text(f"{int(self._counters_uj[package])}\n")

    def start_batch(self) -> None:
        pass


def test_power_is_the_sum_of_the_packages_and_not_of_their_parts(tmp_path: Path):
    machine = Machine(tmp_path, [30.0, 12.0])
    meter = Rapl(tmp_path, machine)
    sample = meter.read()
    assert sample.power_w == pytest.approx(42.0, rel=1e-4)
    assert sample.bus_v is None
    assert meter.description.rail == "package-0 + package-1"


def test_a_platform_zone_that_holds_the_packages_is_not_added_to_them(tmp_path: Path):
    machine = Machine(tmp_path, [30.0, 45.0])
    (tmp_path / "sys/class/powercap/intel-rapl:1/name").write_text("psys\n")
    meter = Rapl(tmp_path, machine)
    assert meter.read().power_w == pytest.approx(30.0, rel=1e-4)
    assert meter.description.rail == "package-0"


def test_packages_that_start_again_from_zero_at_different_times_add_up_to_the_same(tmp_path: Path):
    """T24"""
    machine = Machine(tmp_path, [30.0, 12.0, 7.0], counter_uj=RANGE_UJ - 1_000_000)
    meter = Rapl(tmp_path, machine)
    powers = [meter.read().power_w for _ in range(10)]
    assert machine.wrapped == 3
    assert powers == pytest.approx([49.0] * 10, rel=1e-3)


def test_a_counter_that_starts_again_from_zero_changes_nothing(tmp_path: Path):
    """T24"""
    machine = Machine(tmp_path, [30.0], counter_uj=RANGE_UJ - 1_000_000)
    meter = Rapl(tmp_path, machine)
    powers = [meter.read().power_w for _ in range(5)]
    assert powers == pytest.approx([30.0] * 5, rel=1e-4)


def test_a_window_does_not_count_what_was_used_before_it(tmp_path: Path):
    machine = Machine(tmp_path, [90.0])
    meter = Rapl(tmp_path, machine)
    machine.sleep(5)
    machine.watts[0] = 10.0
    meter.begin_window()
    assert meter.read().power_w == pytest.approx(10.0, rel=1e-4)


def test_a_machine_without_a_counter_says_so(tmp_path: Path):
    with pytest.raises(MeterError, match="no energy counter") as caught:
        Rapl(tmp_path, Machine(tmp_path / "elsewhere", [1.0]))
    assert caught.value.status is MeterStatus.ABSENT


def test_a_counter_that_may_not_be_read_says_what_to_do(tmp_path: Path):
    machine = Machine(tmp_path, [30.0])
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    counter.unlink()
    counter.mkdir()  # unreadable for root as well
    with pytest.raises(MeterError, match="run the agent as root") as caught:
        Rapl(tmp_path, machine)
    assert caught.value.status is MeterStatus.ABSENT


def test_a_counter_that_stands_still_is_told_within_a_second(tmp_path: Path):
    machine = Machine(tmp_path, [0.0])
    with pytest.raises(MeterError) as caught:
        Rapl(tmp_path, machine).read()
    assert caught.value.status is MeterStatus.STUCK
    assert machine.now_ns() < 1e9
