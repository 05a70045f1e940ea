from __future__ import annotations

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


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_box_that_tells_nothing_has_unknown_conditions_and_never_zeros(tmp_path: Path) -> None:
    assert read_conditions(tmp_path) == Conditions()
    assert read_cpu_time(tmp_path) is None
    assert contention(None, None) is None


def test_the_hottest_zone_and_the_fastest_core_count_and_a_broken_sensor_does_not(tmp_path: Path) -> None:
    root = write(
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
    )


def test_contention_is_what_others_used_of_all_cores_with_steal_and_without_guests(tmp_path: Path) -> None:
    #                                 user nice system idle iowait irq softirq steal guest guest_nice
    first = write(tmp_path / "1", {"proc/stat": "cpu  100 0 50 800 50 0 0 0 90 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"})
    later = write(tmp_path / "2", {"proc/stat": "cpu  130 5 60 990 60 1 4 10 120 0\n"})
    before, after = read_cpu_time(first), read_cpu_time(later)
    assert before == CpuTime(busy=150, total=1000)
    assert after == CpuTime(busy=210, total=1260)
    assert contention(before, after) == pytest.approx(60 / 260)
    assert contention(before, after, own_ticks=47) == pytest.approx(13 / 260)
    assert contention(before, after, own_ticks=61) == 0.0
    assert contention(before, before) is None


def test_the_cpu_time_of_a_process_is_found_behind_a_name_with_blanks_and_brackets(tmp_path: Path) -> None:
    stat = "41 (a ) b (c) S 1 41 41 0 -1 4194304 100 0 0 0 17 5 0 0 20 0 1 0 100 0 0"
    root = write(tmp_path, {"proc/41/stat": stat})
    assert read_process_ticks(root, [41, 99]) == 22
