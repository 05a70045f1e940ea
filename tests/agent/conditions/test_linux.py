from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from edgepareto.agent.conditions.linux import (
    Conditions,
    CpuTime,
    contention,
    read_conditions,
    read_cpu_time,
    read_process_ticks,
)
from fakes import board_trees
from fakes.board_trees import write_tree

BuildTree = Callable[[Path], Path]


def test_a_box_that_tells_nothing_has_unknown_conditions_and_never_zeros(tmp_path: Path) -> None:
    assert read_conditions(tmp_path) == Conditions()
    assert read_cpu_time(tmp_path) is None
    assert contention(None, None) is None


BOARDS = {
    board_trees.nothing: Conditions(),
    board_trees.plain_linux: Conditions(
        temperature_c=61.0,
        frequency_hz=1.2e9,
        governor="performance",
        free_memory_bytes=3_072_000_000,
        clocks_fixed=False,  # intel_pstate scales below a governor of that name
    ),
    board_trees.raspberry_pi_4: Conditions(
        temperature_c=48.199,
        frequency_hz=7e8,
        governor="ondemand",
        throttle_bits=0x50000,
        free_memory_bytes=3_072_000_000,
        time_in_state=((600_000_000, 91_200), (1_800_000_000, 4_170)),
        clocks_fixed=False,
    ),
    board_trees.raspberry_pi_5: Conditions(
        temperature_c=52.35,
        frequency_hz=1.5e9,
        governor="ondemand",
        throttle_bits=0,
        free_memory_bytes=3_072_000_000,
        fan_level=1,
        time_in_state=((1_500_000_000, 8_000), (2_400_000_000, 2_000)),
        clocks_fixed=False,
    ),
    board_trees.jetson_nano: Conditions(
        temperature_c=38.5,
        frequency_hz=9.18e8,
        governor="schedutil",
        free_memory_bytes=3_072_000_000,
        power_mode="5W",
        fan_level=80,
        time_in_state=((102_000_000, 50), (918_000_000, 400)),
        clocks_fixed=False,
        gpu_frequency_hz=7.68e7,
        memory_frequency_hz=1.6e9,
    ),
    board_trees.jetson_orin_nano: Conditions(
        temperature_c=50.125,
        frequency_hz=1.5104e9,
        governor="schedutil",
        free_memory_bytes=3_072_000_000,
        power_mode="15W",
        fan_level=2,
        time_in_state=((729_600_000, 100), (1_510_400_000, 900)),
        clocks_fixed=False,
        gpu_frequency_hz=5.1e8,
        memory_frequency_hz=2.04e8,
    ),
}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.__name__)
def test_every_board_tells_what_it_has_in_si_units_and_nothing_else(tmp_path: Path, board: BuildTree) -> None:
    """T23"""
    assert read_conditions(board(tmp_path)) == BOARDS[board]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.__name__)
def test_a_board_whose_files_all_answer_with_an_error_tells_nothing(tmp_path: Path, board: BuildTree) -> None:
    """A folder in a file's place is read with an error, as is a sensor that is switched off."""
    for path in sorted(board(tmp_path).rglob("*")):
        if path.is_file():
            path.unlink()
            path.mkdir()
    assert read_conditions(tmp_path) == Conditions()


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.__name__)
def test_a_board_whose_files_hold_rubbish_is_not_believed(tmp_path: Path, board: BuildTree) -> None:
    for path in board(tmp_path).rglob("*"):
        if path.is_file():
            path.write_text("\udcff <unknown>\n", errors="surrogateescape")
    told = read_conditions(tmp_path)
    assert told == Conditions(governor=told.governor, clocks_fixed=told.clocks_fixed)


def test_the_hottest_zone_and_the_fastest_core_count_and_a_broken_sensor_does_not(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "sys/class/thermal/thermal_zone1/temp": "51200\n",
            "sys/class/thermal/thermal_zone2/temp": "\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": "1800000\n",
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor": "performance\n",
            "proc/meminfo": "MemTotal:        3882588 kB\nMemFree:  100 kB\nMemAvailable:    2048 kB\n",
        },
    )
    assert read_conditions(root, contention=0.25) == Conditions(
        temperature_c=51.2,
        frequency_hz=1.8e9,
        governor="ondemand,performance",
        contention=0.25,
        free_memory_bytes=2048 * 1024,
        clocks_fixed=False,
    )


def test_contention_is_what_others_used_of_all_cores_with_steal_and_without_guests(tmp_path: Path) -> None:
    #                                 user nice system idle iowait irq softirq steal guest guest_nice
    first = write_tree(tmp_path / "1", {"proc/stat": "cpu  100 0 50 800 50 0 0 0 90 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"})
    later = write_tree(tmp_path / "2", {"proc/stat": "cpu  130 5 60 990 60 1 4 10 120 0\n"})
    before, after = read_cpu_time(first), read_cpu_time(later)
    assert before == CpuTime(busy=150, total=1000)
    assert after == CpuTime(busy=210, total=1260)
    assert contention(before, after) == pytest.approx(60 / 260)
    assert contention(before, after, own_ticks=47) == pytest.approx(13 / 260)
    assert contention(before, after, own_ticks=61) == 0.0
    assert contention(before, before) is None


def test_the_cpu_time_of_a_process_is_found_behind_a_name_with_blanks_and_brackets(tmp_path: Path) -> None:
    """And that of the programs it ran, such as vcgencmd ten times a second."""
    stat = "41 (a ) b (c) S 1 41 41 0 -1 4194304 100 0 0 0 17 5 6 2 20 0 1 0 100 0 0"
    root = write_tree(tmp_path, {"proc/41/stat": stat})
    assert read_process_ticks(root, [41, 99]) == 30
