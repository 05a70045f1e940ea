"""Fixing clocks and putting them back, whatever happens in between."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgepareto.agent.conditions import ClockFixer, read_conditions
from fakes import board_trees
from fakes.board_trees import BOOT_ID, policy, write_program, write_tree
from fakes.rights import rights_of_nobody

POLICY = "sys/devices/system/cpu/cpufreq/policy"
GPU = "sys/class/devfreq/17000000.gpu"
EMC = "sys/kernel/debug/bpmp/debug/clk/emc"
MODE = "var/lib/nvpmodel/status"


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text().strip() for path in root.rglob("*") if path.is_file()}


def changes(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in after.items() if value != before.get(name)}


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[Path]:
    """The file that the fixer keeps; a test leaves none behind."""
    (tmp_path / "state").mkdir()
    yield tmp_path / "state" / "clocks.json"
    assert list((tmp_path / "state").iterdir()) == []


def test_a_raspberry_pis_governor_and_lowest_frequency_are_fixed_and_put_back(tmp_path: Path, saved: Path) -> None:
    root = board_trees.raspberry_pi_4(tmp_path / "root")
    before = contents(root)
    fixer = ClockFixer(root, saved)
    assert fixer.obstacle() is None
    fixer.fix()
    assert changes(before, contents(root)) == {
        f"{POLICY}0/scaling_governor": "performance",
        f"{POLICY}0/scaling_min_freq": "1800000",
    }
    assert read_conditions(root).clocks_fixed is True
    fixer.restore()
    assert contents(root) == before


def test_both_clusters_gpu_and_memory_of_an_orin_are_fixed_within_the_caps_of_its_power_mode(
    tmp_path: Path, saved: Path
) -> None:
    root = board_trees.jetson_orin_nano(tmp_path / "root")
    before = contents(root)
    fixer = ClockFixer(root, saved)
    fixer.fix()
    assert changes(before, contents(root)) == {
        f"{POLICY}0/scaling_governor": "performance",
        f"{POLICY}0/scaling_min_freq": "1497600",
        f"{POLICY}4/scaling_governor": "performance",
        f"{POLICY}4/scaling_min_freq": "1510400",
        f"{GPU}/min_freq": "612000000",
        f"{EMC}/mrq_rate_locked": "1",
        f"{EMC}/rate": "2133000000",
    }
    fixer.restore()
    assert contents(root) == before


def test_a_nanos_memory_has_a_switch_of_its_own(tmp_path: Path, saved: Path) -> None:
    root = board_trees.jetson_nano(tmp_path / "root")
    before = contents(root)
    fixer = ClockFixer(root, saved)
    fixer.fix()
    held = contents(root)
    assert held["sys/kernel/debug/clk/override.emc/clk_state"] == "1"
    assert held["sys/kernel/debug/clk/override.emc/clk_update_rate"] == "1600000000"
    assert held["sys/class/devfreq/57000000.vic/min_freq"] == "1"
    fixer.restore()
    assert contents(root) == before


def test_a_killed_agents_clocks_are_put_back_by_the_next_one_whatever_it_is_allowed(
    tmp_path: Path, saved: Path
) -> None:
    root = board_trees.jetson_orin_nano(tmp_path / "root")
    before = contents(root)
    ClockFixer(root, saved, power_mode=1).fix()
    assert changes(before, contents(root))[MODE] == "pmode:0001"
    ClockFixer(root, saved).restore()
    after = contents(root)
    assert after.pop(MODE) == "pmode:0000"
    before.pop(MODE)
    assert after == before


def test_what_to_put_back_is_on_disk_before_anything_is_changed(tmp_path: Path, saved: Path) -> None:
    """A folder stands where the file should be written: then nothing may be changed."""
    root = board_trees.raspberry_pi_4(tmp_path / "root")
    before = contents(root)
    blocked = saved.with_name("clocks.json.new")
    blocked.mkdir()
    ClockFixer(root, saved).fix()
    assert contents(root) == before
    blocked.rmdir()


def test_fixing_what_an_agent_left_fixed_does_not_take_it_for_the_owners_choice(tmp_path: Path, saved: Path) -> None:
    root = board_trees.raspberry_pi_4(tmp_path / "root")
    before = contents(root)
    ClockFixer(root, saved).fix()
    second = ClockFixer(root, saved)
    second.fix()
    second.restore()
    assert contents(root) == before


def test_after_a_reboot_only_the_power_mode_is_put_back(tmp_path: Path, saved: Path) -> None:
    """The kernel's values began anew with the boot, and the owner may have chosen others; nvpmodel keeps its mode."""
    root = board_trees.jetson_orin_nano(tmp_path / "root")
    ClockFixer(root, saved, power_mode=1).fix()
    write_tree(root, {BOOT_ID: "another boot", f"{POLICY}0/scaling_governor": "conservative"})
    ClockFixer(root, saved).restore()
    held = contents(root)
    assert held[MODE] == "pmode:0000"
    assert held[f"{POLICY}0/scaling_governor"] == "conservative"
    assert held[f"{GPU}/min_freq"] == "612000000"


def test_cores_that_a_power_mode_switches_on_are_fixed_and_put_back_too(tmp_path: Path, saved: Path) -> None:
    root = board_trees.jetson_nano(tmp_path / "root")
    files = policy(1, 102_000, 1_479_000, now=102_000, governor="schedutil", times=[])
    switch_on = [f"mkdir -p $ROOT/{POLICY}1"]
    switch_on += [f"[ -e $ROOT/{name} ] || echo '{value}' > $ROOT/{name}" for name, value in files.items()]
    write_program(root, "usr/sbin/nvpmodel", *switch_on, f'printf "pmode:%04d\\n" "$2" > $ROOT/{MODE}')
    fixer = ClockFixer(root, saved, power_mode=0)
    fixer.fix()
    assert contents(root)[f"{POLICY}1/scaling_min_freq"] == "1479000"
    fixer.restore()
    assert changes(files, contents(root)).keys().isdisjoint(files)
    assert contents(root)[MODE] == "pmode:0001"


def test_a_power_mode_that_the_board_does_not_take_is_said_and_the_clocks_are_fixed_in_the_present_one(
    tmp_path: Path, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = board_trees.jetson_orin_nano(tmp_path / "root")
    write_program(root, "usr/sbin/nvpmodel", "exit 1")
    fixer = ClockFixer(root, saved, power_mode=2)
    fixer.fix()
    assert "did not take power mode 2" in caplog.text
    assert read_conditions(root).clocks_fixed is True
    fixer.restore()


def test_fixed_clocks_of_the_owners_own_are_left_alone(tmp_path: Path, saved: Path) -> None:
    root = board_trees.raspberry_pi_4(tmp_path / "root")
    write_tree(root, {f"{POLICY}0/scaling_governor": "performance", f"{POLICY}0/scaling_min_freq": "1800000"})
    before = contents(root)
    fixer = ClockFixer(root, saved)
    fixer.fix()
    fixer.restore()
    assert contents(root) == before


def test_without_permission_the_obstacle_names_the_file_and_what_to_do(tmp_path: Path, saved: Path) -> None:
    root = board_trees.raspberry_pi_4(tmp_path / "root")
    with rights_of_nobody(tmp_path):
        (governor := root / f"{POLICY}0/scaling_governor").stat()
        obstacle = ClockFixer(root, saved).obstacle()
    assert obstacle == (
        f"{governor} cannot be written; run the agent as root, or open the file to its user "
        "(docs/measurement.md, Conditions)"
    )


def test_what_is_refused_half_way_is_undone_and_said_in_one_line(
    tmp_path: Path, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of /proc that takes nothing, from root neither, stands for the lowest frequency."""
    root = board_trees.raspberry_pi_4(tmp_path / "root")
    lowest = root / f"{POLICY}0/scaling_min_freq"
    lowest.unlink()
    lowest.symlink_to("/proc/self/oom_score")
    with caplog.at_level(logging.WARNING):
        ClockFixer(root, saved).fix()
    assert (root / f"{POLICY}0/scaling_governor").read_text() == "ondemand"
    assert read_conditions(root).clocks_fixed is False
    (line,) = caplog.messages
    assert line.startswith(f"clocks are not fixed: {lowest}: ")


def test_a_board_without_cpufreq_or_without_nvpmodel_has_an_obstacle(tmp_path: Path, saved: Path) -> None:
    assert "no cpufreq" in (ClockFixer(tmp_path / "nothing", saved).obstacle() or "")
    root = board_trees.raspberry_pi_4(tmp_path / "root")
    assert "remove it from [clocks]" in (ClockFixer(root, saved, power_mode=0).obstacle() or "")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": [["x"]]}', json.dumps({"boot_id": "x"})])
def test_a_damaged_file_changes_nothing_and_is_said(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = board_trees.raspberry_pi_4(tmp_path / "root")
    before = contents(root)
    saved = tmp_path / "clocks.json"
    saved.write_text(text)
    ClockFixer(root, saved).restore()
    assert contents(root) == before
    assert f"{saved} cannot be read" in caplog.text
