"""Clocks: how long at which frequency, and whether they may scale."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgepareto.agent.conditions import mean_frequency_hz, read_conditions
from edgepareto.agent.conditions.cpufreq import clocks_fixed
from fakes.board_trees import jetson_orin_nano, plain_linux, policy, raspberry_pi_4, write_tree
from hypothesis import given
from hypothesis import strategies as st

POLICY = "sys/devices/system/cpu/cpufreq/policy0"


def test_the_mean_frequency_weighs_each_by_the_time_spent_at_it() -> None:
    before = ((600_000_000, 1_000), (1_800_000_000, 500))
    after = ((600_000_000, 1_250), (1_800_000_000, 1_250))
    assert mean_frequency_hz(before, after) == 1_500_000_000


@given(st.lists(st.tuples(st.integers(1, 10**10), st.integers(0, 10**9), st.integers(0, 10**6)), max_size=9))
def test_the_mean_lies_between_the_frequencies_that_were_used(states: list[tuple[int, int, int]]) -> None:
    states = list({hz: (hz, ms, spent) for hz, ms, spent in states}.values())
    before = tuple((hz, ms) for hz, ms, _ in states)
    after = tuple((hz, ms + spent) for hz, ms, spent in states)
    used = [hz for hz, _, spent in states if spent]
    mean = mean_frequency_hz(before, after)
    assert (mean is None) == (not used)
    assert mean is None or min(used) * (1 - 1e-12) <= mean <= max(used) * (1 + 1e-12)


def test_no_mean_is_made_up_where_a_reading_is_missing_or_the_counters_were_set_back() -> None:
    told = ((600_000_000, 1_000), (1_800_000_000, 500))
    assert mean_frequency_hz((), told) is None
    assert mean_frequency_hz(told, ()) is None
    assert mean_frequency_hz(told, told) is None
    assert mean_frequency_hz(told, ((600_000_000, 3_000), (1_800_000_000, 10))) is None


@pytest.mark.parametrize(
    ("values", "fixed"),
    [
        ({"scaling_min_freq": "1800000"}, True),
        ({"scaling_governor": "performance"}, True),
        ({"scaling_governor": "userspace"}, True),
        ({"scaling_governor": "ondemand"}, False),
        ({"scaling_governor": "performance", "scaling_driver": "amd-pstate-epp"}, False),
        ({"scaling_driver": "intel_pstate", "scaling_min_freq": "1800000"}, True),
    ],
)
def test_clocks_are_fixed_by_equal_bounds_or_by_a_governor_that_never_scales(
    tmp_path: Path, values: dict[str, str], fixed: bool
) -> None:
    root = write_tree(raspberry_pi_4(tmp_path), {f"{POLICY}/{name}": value for name, value in values.items()})
    assert read_conditions(root).clocks_fixed is fixed


def test_one_cluster_or_one_gpu_that_scales_is_enough_to_be_not_fixed(tmp_path: Path) -> None:
    root = jetson_orin_nano(tmp_path)
    assert read_conditions(root).clocks_fixed is False
    for name in ("cpufreq/policy0", "cpufreq/policy4"):
        write_tree(root, {f"sys/devices/system/cpu/{name}/scaling_governor": "performance"})
    assert clocks_fixed(root) is True
    assert read_conditions(root).clocks_fixed is False
    write_tree(root, {"sys/class/devfreq/17000000.gpu/min_freq": "612000000"})
    assert read_conditions(root).clocks_fixed is True


def test_a_cluster_that_is_switched_off_does_not_count(tmp_path: Path) -> None:
    """Its folder stays, its files answer EBUSY."""
    root = jetson_orin_nano(tmp_path)
    for path in (root / "sys/devices/system/cpu/cpufreq/policy4").rglob("*"):
        if path.is_file():
            path.unlink()
    told = read_conditions(root)
    assert told.time_in_state == ((729_600_000, 700), (1_497_600_000, 300))
    assert told.frequency_hz == 729_600_000


def test_an_old_kernel_without_policies_tells_by_core(tmp_path: Path) -> None:
    root = plain_linux(tmp_path)
    old = {
        name.replace("cpufreq/policy0", "cpu0/cpufreq"): value
        for name, value in policy(0, 1_000, 2_000, now=2_000, governor="performance", times=["2000 7"]).items()
    }
    for path in sorted((root / POLICY).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (root / POLICY).rmdir()
    told = read_conditions(write_tree(root, old))
    assert (told.frequency_hz, told.governor, told.time_in_state) == (2e6, "performance", ((2_000_000, 70),))
