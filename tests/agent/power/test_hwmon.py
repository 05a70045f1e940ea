from __future__ import annotations

from pathlib import Path

import pytest
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power import MeterQuality, MeterSetting
from edgepareto.agent.power.hwmon import Hwmon
from edgepareto.agent.power.jetson_rails import JetsonRails
from fakes.power_trees import TreeClock, hwmon, write

INA226 = {
    "power1_input": 2_500_000,
    "in0_input": 49,
    "in1_input": 5004,
    "update_interval": 35,
    "shunt_resistor": 100_000,
}


def setting(**keys: object) -> MeterSetting:
    return MeterSetting(kind="hwmon", **keys)


def test_a_chip_is_chosen_by_its_name_whatever_its_number(tmp_path: Path):
    hwmon(tmp_path, 0, "cpu_thermal", {"temp1_input": 48_000})
    hwmon(tmp_path, 1, "ina260", {"power1_input": 990_000})
    hwmon(tmp_path, 7, "ina226", INA226, device="1-0041")
    meter = Hwmon(tmp_path, TreeClock(), setting(chip="ina226"))
    sample = meter.read()
    assert (sample.power_w, sample.bus_v, sample.clipped) == (2.5, 5.004, False)
    assert meter.description.rail == "ina226 1-0041"
    assert (meter.description.address, meter.description.shunt_ohm) == (0x41, 0.1)
    assert meter.description.quality is MeterQuality.MEASURED


def test_a_chip_that_only_a_stub_plays_is_simulated_also_behind_a_driver(tmp_path: Path):
    hwmon(tmp_path, 0, "ina219", INA226, device="1-0040")
    write(tmp_path / "sys/bus/i2c/devices/i2c-1", {"name": "SMBus stub driver"})
    assert Hwmon(tmp_path, TreeClock(), setting(chip="ina219")).description.quality is MeterQuality.SIMULATED


def test_two_alike_are_told_apart_by_label_or_by_address(tmp_path: Path):
    hwmon(tmp_path, 0, "ina226", INA226 | {"in1_label": "VDD_BOARD"}, device="1-0040")
    hwmon(tmp_path, 1, "ina226", INA226 | {"in1_label": "VDD_DISK", "power1_input": 800_000}, device="1-0044")
    assert Hwmon(tmp_path, TreeClock(), setting(chip="ina226", rail="VDD_DISK")).read().power_w == 0.8
    assert Hwmon(tmp_path, TreeClock(), setting(bus=1, address=0x44)).read().power_w == 0.8
    with pytest.raises(MeterError, match=r"2 power monitors have chip = 'ina226'.*VDD_BOARD.*VDD_DISK"):
        Hwmon(tmp_path, TreeClock(), setting(chip="ina226", address=0x4A))


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path):
    hwmon(tmp_path, 0, "ina226", INA226, device="1-0040")
    with pytest.raises(MeterError, match="no power monitor with chip = 'ina228'; there is ina226 1-0040") as caught:
        Hwmon(tmp_path, TreeClock(), setting(chip="ina228"))
    assert caught.value.status is MeterStatus.ABSENT


def test_a_shunt_that_the_kernel_takes_for_another_is_refused_with_the_command_that_mends_it(tmp_path: Path):
    """ina2xx assumes 10 mohm, so a 0.1 ohm module would read ten times too much."""
    hwmon(tmp_path, 3, "ina226", INA226 | {"shunt_resistor": 10_000})
    with pytest.raises(MeterError) as caught:
        Hwmon(tmp_path, TreeClock(), setting(chip="ina226", shunt_ohm=0.1))
    said = str(caught.value)
    assert "a shunt of 0.01 ohm, shunt_ohm in agent.toml is 0.1" in said
    assert "echo 100000 | sudo tee /sys/class/hwmon/hwmon3/shunt_resistor" in said
    Hwmon(tmp_path, TreeClock(), setting(chip="ina226", shunt_ohm=0.01))


@pytest.mark.parametrize(
    ("chip", "update_interval_ms", "period_ms"),
    [("ina226", 35, 38.5), ("ina226", 141, 155.1), ("ina238", None, 55.55), ("ina219", None, 5.0)],
)
def test_it_is_read_once_per_conversion_of_the_slowest_chip(
    chip: str, update_interval_ms: int | None, period_ms: float, tmp_path: Path
):
    files: dict[str, object] = {"power1_input": 1_000_000}
    hwmon(tmp_path, 0, chip, files | ({"update_interval": update_interval_ms} if update_interval_ms else {}))
    meter = Hwmon(tmp_path, TreeClock(), setting(chip=chip))
    meter.begin_window()
    stamps = [meter.read().timestamp_ns for _ in range(5)]
    assert stamps == pytest.approx([period_ms * 1e6 * (i + 1) for i in range(5)], rel=1e-6)


def test_an_energy_counter_is_preferred_and_its_sum_is_exact_over_a_changing_load(tmp_path: Path):
    def watts(second: float) -> float:
        return 2.0 if second < 1 else 6.0

    used = {"ns": 0, "uj": 0.0}

    def move(now_ns: int) -> None:
        used["uj"] += watts(used["ns"] / 1e9) * (now_ns - used["ns"]) / 1e3
        used["ns"] = now_ns
        (folder / "energy1_input").write_text(f"{round(used['uj'])}\n")

    files = INA226 | {"power1_input": 77, "energy1_input": 0, "update_interval": 50}
    folder = hwmon(tmp_path, 0, "ina228", files)
    meter = Hwmon(tmp_path, TreeClock(move), setting(chip="ina228"))
    assert meter.description.quality is MeterQuality.COUNTER
    meter.begin_window()
    samples = [meter.read() for _ in range(40)]
    stamps = [0, *(sample.timestamp_ns for sample in samples)]
    energy_j = sum(s.power_w * (b - a) / 1e9 for s, a, b in zip(samples, stamps, stamps[1:], strict=False))
    assert energy_j == pytest.approx(used["uj"] / 1e6, abs=1e-5)
    assert max(sample.power_w for sample in samples) == pytest.approx(6.0)


def test_a_counter_that_goes_back_voids_the_window(tmp_path: Path):
    folder = hwmon(tmp_path, 0, "ina228", {"energy1_input": 5_000_000})
    meter = Hwmon(tmp_path, TreeClock(), setting(chip="ina228"))
    meter.begin_window()
    (folder / "energy1_input").write_text("1200\n")
    with pytest.raises(MeterError, match="went back from 5000000 to 1200 uJ") as caught:
        meter.read()
    assert caught.value.status is MeterStatus.RESET


def test_a_shunt_at_the_end_of_the_chips_scale_is_told_as_clipped(tmp_path: Path):
    folder = hwmon(tmp_path, 0, "ina226", INA226 | {"in0_input": 82})
    meter = Hwmon(tmp_path, TreeClock(), setting(chip="ina226"))
    assert meter.read().clipped
    (folder / "in0_input").write_text("81\n")
    assert not meter.read().clipped


def test_a_chip_that_stops_answering_is_an_io_error(tmp_path: Path):
    folder = hwmon(tmp_path, 0, "ina226", INA226)
    meter = Hwmon(tmp_path, TreeClock(), setting(chip="ina226"))
    (folder / "power1_input").write_text("")
    with pytest.raises(MeterError, match="power1_input holds '', wanted a whole number") as caught:
        meter.read()
    assert caught.value.status is MeterStatus.IO


@pytest.mark.parametrize("phase_s", [0.0, 0.1, 0.25, 0.49])
@pytest.mark.parametrize("kind", ["hwmon", "jetson"])
def test_nothing_is_in_a_sample_that_was_longer_ago_than_the_meter_says(tmp_path: Path, kind: str, phase_s: float):
    """9 W until the window begins, 2 W after it; the chip shows the mean of its last whole conversion of 0.5 s."""
    begun_s, conversion_s = 3.0, 0.5
    files = {"power1_input": 0, "in1_input": 5000, "update_interval": 500, "label": "VIN"}
    folder = hwmon(tmp_path, 0, "ina238", files)

    def show(now_ns: int) -> None:
        ended_s = (now_ns / 1e9 - phase_s) // conversion_s * conversion_s + phase_s
        before = min(1.0, max(0.0, begun_s - (ended_s - conversion_s)) / conversion_s)
        (folder / "power1_input").write_text(f"{round(2e6 + 7e6 * before)}\n")

    clock = TreeClock(show)
    clock.sleep(begun_s)
    meter = Hwmon(tmp_path, clock, setting()) if kind == "hwmon" else JetsonRails(tmp_path, clock)
    meter.begin_window()
    samples = [meter.read() for _ in range(8)]
    later = [one for one in samples if one.timestamp_ns / 1e9 >= begun_s + meter.description.averaging_s]
    assert len(later) >= 4
    assert {one.power_w for one in later} == {2.0}
