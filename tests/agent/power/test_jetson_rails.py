"""T23, the rails: on every board the right ones, in the right unit, under the paths of its JetPack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.jetson_rails import JetsonRails
from fakes.power_trees import TreeClock, hwmon, ina3221_hwmon, ina3221_iio, write

NANO = [("POM_5V_IN", 4904, 500), ("POM_5V_GPU", 4904, 40), ("POM_5V_CPU", 4904, 120)]
XAVIER_NX = [("VDD_IN", 5000, 900), ("VDD_CPU_GPU_CV", 5000, 300), ("VDD_SOC", 5000, 250)]
ORIN_NANO = [("VDD_IN", 4904, 1048), ("VDD_CPU_GPU_CV", 4904, 160), ("VDD_SOC", 4904, 290)]
AGX_XAVIER = (
    [("GPU", 19_000, 100), ("CPU", 19_000, 60), ("SOC", 19_000, 90)],
    [("CV", 19_000, 10), ("VDDRQ", 19_000, 30), ("SYS5V", 5000, 600)],
)
AGX_ORIN = (
    [("VDD_GPU_SOC", 20_000, 200), ("VDD_CPU_CV", 20_000, 100), ("VIN_SYS_5V0", 5000, 800)],
    [("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5000, 200), ("", 0, 0)],
)
TX2 = {
    "0-0040": [("VDD_SYS_GPU", 19_000, 10), ("VDD_SYS_SOC", 19_000, 40), ("VDD_4V0_WIFI", 4800, 0)],
    "0-0041": [("VDD_IN", 19_000, 300), ("VDD_SYS_CPU", 19_000, 20), ("VDD_SYS_DDR", 4800, 200)],
    "0-0042": [("VDD_MUX", 19_000, 350), ("VDD_5V0_IO_SYS", 4900, 100), ("VDD_3V3_SYS", 3300, 100)],
}


def nano(root: Path) -> None:
    ina3221_iio(root, "6-0040", NANO)


def tx2(root: Path) -> None:
    for number, (device, channels) in enumerate(TX2.items()):
        ina3221_iio(root, device, channels, folder=f"iio:device{number}")


def tx2_release_28(root: Path) -> None:
    for device, channels in TX2.items():
        ina3221_iio(root, device, channels, folder="iio_device")


def xavier_nx_jetpack_4(root: Path) -> None:
    ina3221_iio(root, "7-0040", XAVIER_NX)


def xavier_nx_jetpack_5(root: Path) -> None:
    hwmon(root, 0, "tegra_fan", {"rpm": 0})
    ina3221_hwmon(root, 5, XAVIER_NX)


def agx_xavier(root: Path) -> None:
    for number, channels in enumerate(AGX_XAVIER):
        ina3221_iio(root, f"1-004{number}", channels, folder=f"iio:device{number}")


def orin_nano(root: Path) -> None:
    ina3221_hwmon(root, 1, ORIN_NANO, interval_ms=50)


def agx_orin(root: Path) -> None:
    for number, channels in enumerate(AGX_ORIN):
        ina3221_hwmon(root, number + 3, channels)


def thor(root: Path) -> None:
    ina3221_hwmon(root, 2, [("VDD_GPU", 20_000, 300), ("VDD_CPU_SOC_MSS", 20_000, 500), ("VIN_SYS_5V0", 5000, 900)])
    hwmon(root, 3, "ina238", {"power1_input": 31_400_000, "in1_input": 20_006, "curr1_input": 1570})


def thor_with_a_label(root: Path) -> None:
    ina3221_hwmon(root, 2, [("VDD_GPU", 20_000, 300), ("", 0, 0), ("", 0, 0)])
    hwmon(root, 3, "ina238", {"power1_input": 31_400_000, "in1_input": 20_006, "in1_label": "VIN"})


@pytest.mark.parametrize(
    ("board", "rail", "watts"),
    [
        (nano, "POM_5V_IN", 2.452),
        (tx2, "VDD_IN", 5.7),
        (tx2_release_28, "VDD_IN", 5.7),
        (xavier_nx_jetpack_4, "VDD_IN", 4.5),
        (xavier_nx_jetpack_5, "VDD_IN", 4.5),
        (agx_xavier, "GPU + CPU + SOC + CV + VDDRQ + SYS5V", 19 * 0.29 + 3.0),
        (orin_nano, "VDD_IN", 4.904 * 1.048),
        (agx_orin, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0", 10.0),
        (thor, "VIN", 31.4),
        (thor_with_a_label, "VIN", 31.4),
    ],
)
def test_the_whole_boards_power_is_read_from_the_right_rails(
    board: Callable[[Path], None], rail: str, watts: float, tmp_path: Path
):
    """T23"""
    board(tmp_path)
    meter = JetsonRails(tmp_path, TreeClock())
    meter.begin_window()
    assert meter.description.rail == rail
    assert meter.read().power_w == pytest.approx(watts)


def test_rails_named_in_the_settings_win_and_are_added_up(tmp_path: Path):
    nano(tmp_path)
    meter = JetsonRails(tmp_path, TreeClock(), rail="POM_5V_GPU + POM_5V_CPU")
    assert meter.description.rail == "POM_5V_GPU + POM_5V_CPU"
    assert meter.read().power_w == pytest.approx(0.196 + 0.588)
    with pytest.raises(MeterError, match=r"no rail is labelled 'VDD_IN'.*there are POM_5V_IN, POM_5V_GPU, POM_5V_CPU"):
        JetsonRails(tmp_path, TreeClock(), rail="VDD_IN")


def test_a_board_without_the_chip_says_so(tmp_path: Path):
    with pytest.raises(MeterError, match="no Jetson with an INA3221") as caught:
        JetsonRails(tmp_path, TreeClock())
    assert caught.value.status is MeterStatus.ABSENT


def test_a_channel_that_is_switched_off_is_no_rail(tmp_path: Path):
    folder = ina3221_hwmon(tmp_path, 0, ORIN_NANO)
    write(folder, {"in1_enable": 0})
    with pytest.raises(MeterError, match="labels are VDD_CPU_GPU_CV, VDD_SOC"):
        JetsonRails(tmp_path, TreeClock())


def test_a_driver_that_tells_its_interval_is_read_at_it(tmp_path: Path):
    orin_nano(tmp_path)
    meter = JetsonRails(tmp_path, TreeClock())
    meter.begin_window()
    assert [meter.read().timestamp_ns for _ in range(4)] == [50_000_000, 100_000_000, 150_000_000, 200_000_000]


def test_of_a_driver_that_does_not_each_change_is_one_sample_and_what_stands_still_comes_again_in_time(tmp_path: Path):
    """JetPack 4's chip has a new value each 0.43 s."""

    nano(tmp_path)
    power = tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input"

    def move(now_ns: int) -> None:
        power.write_text(f"{2500 + 5 * min(now_ns // 430_000_000, 5)}\n")

    meter = JetsonRails(tmp_path, TreeClock(move))
    meter.begin_window()
    samples = [meter.read() for _ in range(7)]
    assert [round(sample.power_w * 1e3) for sample in samples[:5]] == [2505, 2510, 2515, 2520, 2525]
    stamps = [sample.timestamp_ns / 1e9 for sample in samples]
    assert stamps[:5] == pytest.approx([0.43 * (i + 1) for i in range(5)], abs=0.021)
    assert stamps[6] - stamps[5] == pytest.approx(0.45)
