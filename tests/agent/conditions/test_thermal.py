"""When a board slows down by itself, and how its fan turns."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgepareto.agent.conditions import read_conditions, throttle_temperature_c
from fakes import board_trees
from fakes.board_trees import write_tree, zone


@pytest.mark.parametrize(
    ("board", "throttles_at_c"),
    [
        (board_trees.raspberry_pi_4, 80.0),
        (board_trees.raspberry_pi_5, 80.0),
        (board_trees.jetson_nano, 97.0),
        (board_trees.jetson_orin_nano, 99.0),
        (board_trees.plain_linux, None),
        (board_trees.nothing, None),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_board_throttles_at_its_cpus_lowest_passive_trip_point_a_raspberry_pi_by_its_firmware(
    tmp_path: Path, board: object, throttles_at_c: float | None
) -> None:
    assert callable(board)
    assert throttle_temperature_c(board(tmp_path)) == throttles_at_c


def test_a_raspberry_pi_3b_plus_slows_down_at_its_soft_limit(tmp_path: Path) -> None:
    root = write_tree(
        board_trees.raspberry_pi_4(tmp_path), {"proc/device-tree/model": "Raspberry Pi 3 Model B Plus Rev 1.3\0"}
    )
    assert throttle_temperature_c(root) == 60.0


def test_a_passive_trip_point_of_a_raspberry_pis_kernel_wins_over_what_is_known_of_its_firmware(tmp_path: Path) -> None:
    trips = [("passive", 75000), ("passive", 85000), ("critical", 110000)]
    root = write_tree(board_trees.raspberry_pi_5(tmp_path), zone(0, "cpu-thermal", "50000", trips=trips))
    assert throttle_temperature_c(root) == 75.0


def test_the_zones_of_a_big_little_board_count_by_their_names(tmp_path: Path) -> None:
    files = {
        **zone(0, "soc-thermal", "40000", trips=[("passive", 85000)]),
        **zone(1, "bigcore0-thermal", "41000", trips=[("passive", 83000)]),
        **zone(2, "gpu-thermal", "39000", trips=[("passive", 70000)]),
        **zone(3, "battery", "30000", trips=[("passive", 45000)]),
    }
    assert throttle_temperature_c(write_tree(tmp_path, files)) == 83.0


@pytest.mark.parametrize("kind", ["pwm-fan", "gpio-fan", "rpi-poe-fan", "Fan"])
def test_a_fan_is_its_cooling_state_whatever_its_driver_and_stands_still_at_0(tmp_path: Path, kind: str) -> None:
    device = "sys/class/thermal/cooling_device1"
    root = write_tree(board_trees.plain_linux(tmp_path), {f"{device}/type": kind, f"{device}/cur_state": "4"})
    assert read_conditions(root).fan_level == 4
    assert read_conditions(write_tree(root, {f"{device}/cur_state": "0"})).fan_level == 0


def test_a_fan_without_a_cooling_device_is_told_by_its_duty(tmp_path: Path) -> None:
    files = {"hwmon0/name": "ina3221", "hwmon0/pwm1": "9", "hwmon4/name": "pwmfan", "hwmon4/pwm1": "128"}
    root = write_tree(tmp_path, {f"sys/class/hwmon/{name}": value for name, value in files.items()})
    assert read_conditions(root).fan_level == 128
