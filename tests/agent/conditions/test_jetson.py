"""The power mode by its name, from files where they tell it."""

from __future__ import annotations

from pathlib import Path

from edgepareto.agent.conditions.jetson import (
    NVPMODEL,
    gpu_clock_folders,
    read_power_mode,
    read_power_mode_id,
    set_power_mode,
)
from fakes.board_trees import jetson_nano, jetson_orin_nano, plain_linux, write_program, write_tree


def test_a_mode_without_a_name_is_told_by_its_number(tmp_path: Path) -> None:
    write_tree(jetson_nano(tmp_path), {"var/lib/nvpmodel/status": "pmode:0007"})
    assert read_power_mode(tmp_path) == "7"


def test_nvpmodel_is_asked_only_where_no_file_tells_the_mode(tmp_path: Path) -> None:
    root = jetson_orin_nano(tmp_path)
    write_program(root, NVPMODEL, "echo 'NV Fan Mode:quiet'", "echo 'NV Power Mode: 7W'", "echo 1")
    assert read_power_mode(root) == "15W"
    (root / "var/lib/nvpmodel/status").unlink()
    assert (read_power_mode(root), read_power_mode_id(root)) == ("7W", 1)
    write_program(root, NVPMODEL, "echo 'NVPM ERROR: not supported'")
    assert (read_power_mode(root), read_power_mode_id(root)) == (None, None)


def test_a_mode_counts_as_set_only_when_the_board_says_so(tmp_path: Path) -> None:
    root = jetson_orin_nano(tmp_path)
    assert set_power_mode(root, 1)
    assert read_power_mode(root) == "7W"
    write_program(root, NVPMODEL, "read answer || echo 'NVPM ERROR: reboot required'")
    assert not set_power_mode(root, 0)
    assert read_power_mode(root) == "7W"


def test_only_the_gpu_of_a_jetson_counts_of_all_devices_with_a_clock(tmp_path: Path) -> None:
    assert [folder.name for folder in gpu_clock_folders(jetson_nano(tmp_path / "nano"))] == ["57000000.gpu"]
    desk = write_tree(plain_linux(tmp_path / "desk"), {"sys/class/devfreq/fb000000.gpu/min_freq": "1"})
    assert gpu_clock_folders(desk) == ()
    thor = jetson_nano(tmp_path / "thor")
    for name in ("gpu-gpc-0", "gpu-nvd-0", "17000000.ga10b", "8188050000.vic"):
        write_tree(thor, {f"sys/class/devfreq/{name}/min_freq": "1"})
    names = [folder.name for folder in gpu_clock_folders(thor)]
    assert names == ["17000000.ga10b", "57000000.gpu", "gpu-gpc-0", "gpu-nvd-0"]
