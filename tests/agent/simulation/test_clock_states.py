"""What a clock that is set in the fake tree, as the kernel's own files take it, makes of a simulated board."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.simulation import BOARD_NAMES, SimulatedBoard, create_board
from edgepareto.agent.simulation.clock import BoardTime
from edgepareto.agent.simulation.cost_model import Operator, OpKind
from edgepareto.agent.simulation.profile import load_profile
from edgepareto.agent.simulation.runtime import SimulatedRuntime
from edgepareto.agent.simulation.sysfs import read_set_clock

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
FEED = {"x": np.ones((1, 3, 16, 16), np.float32)}
POINTWISE = Operator(kind=OpKind.POINTWISE, outputs=64 * 56 * 56, reduction=256, channels=64, moved=1_000_000)
MOVED = Operator(kind=OpKind.ELEMENTWISE, outputs=10_000_000, reduction=0, channels=64, moved=20_000_000)


def set_clock(board: SimulatedBoard, khz: int) -> None:
    for limit in ("min", "max"):
        (board.sys_root / POLICY / f"scaling_{limit}_freq").write_text(f"{khz}\n")
    board.clock.start_batch()


def set_power_mode(board: SimulatedBoard, number: int) -> None:
    subprocess.run([board.sys_root / "usr/sbin/nvpmodel", "-m", str(number)], check=True)
    board.clock.start_batch()


def one_run(board: SimulatedBoard, model: Path, threads: int) -> tuple[int, float, int]:
    """Nanoseconds, watts, and the threads it really had."""
    options = RuntimeOptions(name="onnxruntime", threads=threads, provider="CPUExecutionProvider")
    runtime = SimulatedRuntime(options, board.folder, "c1/search/0")
    used = runtime.load(model).threads
    before_ns = board.clock.now_ns()
    runtime.run(FEED)
    watts = memoryview((board.folder / "timeline").read_bytes()[8:]).cast("d")[-1]
    return board.clock.now_ns() - before_ns, watts, used


def test_arithmetic_and_dispatch_go_with_the_clock_and_memory_does_not():
    full = load_profile("raspberry-pi-4b").costs
    third = full.at_clock(1 / 3)
    dispatch_s = 10e-6
    assert third.latency_s([POINTWISE], 1) == pytest.approx(3 * full.latency_s([POINTWISE], 1))
    assert third.latency_s([MOVED], 1) - full.latency_s([MOVED], 1) == pytest.approx(2 * dispatch_s)
    assert full.at_clock(1.0) == full


def test_a_pi_at_a_third_of_its_clock_is_slower_and_draws_what_f_times_v_squared_leaves(
    small_cnn: Path, tmp_path: Path
):
    pi = create_board("raspberry-pi-4b", tmp_path)
    full_ns, full_w, _ = one_run(pi, small_cnn, 1)
    set_clock(pi, 600_000)
    slow_ns, slow_w, _ = one_run(pi, small_cnn, 1)
    assert 2.5 < slow_ns / full_ns <= 3.0
    assert full_w == pytest.approx(2.6 + 1.1, rel=0.03)
    assert slow_w == pytest.approx(2.6 + 1.1 * (600 * 0.80**2) / (1800 * 0.94**2), rel=0.03)
    set_clock(pi, 1_800_000)
    assert one_run(pi, small_cnn, 1)[:2] == (full_ns, full_w), "and back to the nanosecond"


def test_the_tree_shows_the_clock_that_is_set_and_how_long_it_was(tmp_path: Path):
    pi = create_board("raspberry-pi-4b", tmp_path)
    set_clock(pi, 1_000_000)
    pi.clock.sleep(2)
    assert (pi.sys_root / POLICY / "scaling_cur_freq").read_text() == "1000000\n"
    times = dict(line.split() for line in (pi.sys_root / POLICY / "stats/time_in_state").read_text().splitlines())
    assert {khz for khz, ticks in times.items() if int(ticks)} == {"1000000"}
    assert (pi.sys_root / "sys/devices/platform/soc/soc:firmware/get_throttled").read_text() == "0\n"


def test_a_board_throttles_from_the_clock_that_is_set_to_the_next_below(tmp_path: Path):
    pi = create_board("raspberry-pi-4b", tmp_path, faults=["throttle_mid_block=1"])
    set_clock(pi, 1_000_000)
    time = BoardTime(tmp_path)
    pi.clock.sleep(1.1)
    before_ns = pi.clock.now_ns()
    time.advance(20_000_000, 3.0, is_run=True)
    assert pi.clock.now_ns() - before_ns == round(20_000_000 * 1000 / 750)
    assert (pi.sys_root / POLICY / "scaling_cur_freq").read_text() == "750000\n"
    assert (pi.sys_root / "sys/devices/platform/soc/soc:firmware/get_throttled").read_text() != "0\n"


def test_a_jetsons_power_mode_caps_its_clock_and_its_cores(small_cnn: Path, tmp_path: Path):
    orin = create_board("jetson-orin-nano", tmp_path)
    full_ns, full_w, full_threads = one_run(orin, small_cnn, 6)
    set_power_mode(orin, 1)
    assert (orin.sys_root / POLICY / "scaling_cur_freq").read_text() == "960000\n"
    slow_ns, slow_w, slow_threads = one_run(orin, small_cnn, 6)
    assert (full_threads, slow_threads) == (6, 4)
    assert slow_ns > full_ns
    assert slow_w < full_w
    set_power_mode(orin, 0)
    assert one_run(orin, small_cnn, 6) == (full_ns, full_w, full_threads)
    refused = subprocess.run([orin.sys_root / "usr/sbin/nvpmodel", "-m", "3"])
    assert refused.returncode == 1


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_every_board_starts_at_its_full_clock_with_all_its_cores(name: str, tmp_path: Path):
    board, profile = create_board(name, tmp_path), load_profile(name)
    clock = read_set_clock(board.sys_root, profile)
    assert (clock.frequency_hz, clock.cores) == (profile.thermal.clocks_hz[0], profile.cpu_count)
    assert profile.clocks.dynamic_share(clock.frequency_hz) == 1.0
    shares = [profile.clocks.dynamic_share(hz) for hz in profile.clocks_hz]
    assert shares == sorted(shares, reverse=True)
    assert len(profile.clocks_hz) <= 8
