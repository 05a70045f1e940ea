from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from edgepareto.agent.errors import ConfigError, Status, WorkerError
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.simulation import BOARD_NAMES, SimulatedBoard, create_board, open_board
from edgepareto.agent.simulation.clock import LaggingClock
from edgepareto.agent.simulation.operators import list_operators
from edgepareto.agent.simulation.profile import load_profile
from edgepareto.agent.simulation.runtime import SimulatedRuntime

FEED = {"x": np.ones((1, 3, 16, 16), np.float32)}


def runtime_of(board: SimulatedBoard, model: Path, job: str = "c1/search/0", threads: int = 1) -> SimulatedRuntime:
    options = RuntimeOptions(name="onnxruntime", threads=threads, provider="CPUExecutionProvider")
    runtime = SimulatedRuntime(options, board.folder, job)
    runtime.load(model)
    return runtime


def run_ns(board: SimulatedBoard, runtime: SimulatedRuntime, runs: int) -> list[int]:
    stamps = [board.clock.now_ns()]
    for _ in range(runs):
        runtime.run(FEED)
        stamps.append(board.clock.now_ns())
    return [after - before for before, after in pairwise(stamps)]


def test_a_job_takes_the_same_time_to_the_nanosecond_in_any_process_batch_and_order(small_cnn: Path, tmp_path: Path):
    """Beyond 1,024 runs, so that a second block of noise is drawn."""
    here = create_board("raspberry-pi-4b", tmp_path / "here", seed=5)
    alone = run_ns(here, runtime_of(here, small_cnn), 1_500)

    there = create_board("raspberry-pi-4b", tmp_path / "there", seed=5)
    there.clock.start_batch()
    there.clock.sleep(3.7)
    other, same = runtime_of(there, small_cnn, "c2/search/0"), runtime_of(there, small_cnn)
    run_ns(there, other, 10)
    first = run_ns(there, same, 700)
    run_ns(there, other, 10)
    same.outputs(FEED)
    there.clock.start_batch()
    assert first + run_ns(there, same, 800) == alone

    code = f"""
import json, sys
import numpy as np
from pathlib import Path
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.simulation import open_board
from edgepareto.agent.simulation.runtime import SimulatedRuntime
board = open_board(Path({str(tmp_path / "there")!r}))
runtime = SimulatedRuntime(
    RuntimeOptions(name="onnxruntime", threads=1, provider="CPUExecutionProvider"), board.folder, "c1/search/0"
)
runtime.load(Path({str(small_cnn)!r}))
stamps = [board.clock.now_ns()]
for _ in range(100):
    runtime.run({{"x": np.zeros((1, 3, 16, 16), np.float32)}})
    stamps.append(board.clock.now_ns())
json.dump(np.diff(stamps).tolist(), sys.stdout)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == alone[:100]


def test_another_seed_candidate_purpose_or_attempt_is_another_measurement(small_cnn: Path, tmp_path: Path):
    boards = [create_board("raspberry-pi-4b", tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    jobs = ["c1/search/0", "c2/search/0", "c1/remeasure/0", "c1/search/1"]
    seen = [tuple(run_ns(boards[0], runtime_of(boards[0], small_cnn, job), 5)) for job in jobs]
    seen.append(tuple(run_ns(boards[1], runtime_of(boards[1], small_cnn, jobs[0]), 5)))
    assert len(set(seen)) == 5


def test_latency_scatters_about_the_cost_model_by_one_percent_and_jobs_by_less(small_cnn: Path, tmp_path: Path):
    board = create_board("raspberry-pi-4b", tmp_path)
    cost_ns = load_profile("raspberry-pi-4b").costs.latency_s(list_operators(small_cnn, FEED), 1) * 1e9
    jobs = [np.array(run_ns(board, runtime_of(board, small_cnn, f"c{job}/search/0"), 400)) for job in range(40)]
    medians = np.array([np.median(job) for job in jobs])
    assert np.median(medians) == pytest.approx(cost_ns, rel=0.005)
    assert 0.004 < medians.std() / cost_ns < 0.010
    within = np.concatenate([job / np.median(job) for job in jobs])
    assert np.percentile(within, 84) - 1 == pytest.approx(0.01, rel=0.15)
    assert 0.0005 < (within > 1.1).mean() < 0.005


def test_idle_and_busy_time_are_on_the_timeline_and_a_batch_starts_at_zero(small_cnn: Path, tmp_path: Path):
    board = create_board("jetson-orin-nano", tmp_path)
    board.clock.sleep(5)
    board.clock.start_batch()
    assert board.clock.now_ns() == 0
    board.clock.sleep(1.5)
    runtime = runtime_of(board, small_cnn, threads=2)
    run_ns(board, runtime, 3)
    records = np.frombuffer((tmp_path / "timeline").read_bytes()[8:], dtype=[("end_ns", "<i8"), ("power_w", "<f8")])
    assert len(records) == 4
    assert records["end_ns"][0] == 1_500_000_000
    assert records["end_ns"][-1] == board.clock.now_ns()
    assert records["power_w"][0] == pytest.approx(5.1, rel=0.01)
    assert records["power_w"][1:].tolist() == pytest.approx([5.1 + 1.6 + 1.1] * 3, rel=0.03)


@pytest.mark.parametrize("pace", [1.0, 0.1])
def test_at_a_pace_a_block_of_0_3_s_takes_that_share_of_it_in_real_time(pace: float, small_cnn: Path, tmp_path: Path):
    """In runs of a fraction of a millisecond and in one sleep, with waits between the blocks; the best of five, since
    a machine that is busy elsewhere makes every wait longer.
    """
    board = create_board("raspberry-pi-4b", tmp_path, pace=pace)
    runtime = runtime_of(board, small_cnn)
    run_ns(board, runtime, 1)

    def block() -> None:
        while board.clock.now_ns() < until_ns:
            runtime.run(FEED)

    shares = []
    for measure in (block, lambda: board.clock.sleep(0.3)):
        best = float("inf")
        for _ in range(5):
            time.sleep(0.01)
            begin_ns, begin_s = board.clock.now_ns(), time.monotonic()
            until_ns = begin_ns + 300_000_000
            measure()
            best = min(best, (time.monotonic() - begin_s) / ((board.clock.now_ns() - begin_ns) * 1e-9))
        shares.append(best)
    assert shares == pytest.approx([pace, pace], rel=0.05)


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_a_board_says_what_it_is_and_on_what_it_was_calibrated(name: str, tmp_path: Path):
    board = create_board(name, tmp_path, seed=1)
    assert board.device == open_board(tmp_path).device
    assert (board.device.board, board.device.default_threads, board.device.has_meter) == (name, 1, True)
    assert "docs/board-facts.md" in board.device.note
    boot_id = (board.sys_root / "proc/sys/kernel/random/boot_id").read_text().strip()
    assert boot_id == board.device.boot_id
    other = create_board(name, tmp_path / "other", seed=2)
    assert other.device.board_id != board.device.board_id


def test_a_board_that_is_dropped_leaves_no_descriptor(tmp_path: Path):
    descriptors = Path("/proc/self/fd")
    gc.collect()  # what earlier tests left is none of ours
    before = len(list(descriptors.iterdir()))
    for number in range(3):
        board = create_board("raspberry-pi-4b", tmp_path / str(number))
        board.clock.start_batch()
        board.clock.sleep(1)
        LaggingClock(board.folder)
        del board
    gc.collect()
    assert len(list(descriptors.iterdir())) == before


def test_a_dying_board_dies_at_the_batch_it_was_told_to(tmp_path: Path):
    code = f"""
from pathlib import Path
from edgepareto.agent.simulation import create_board
board = create_board("raspberry-pi-4b", Path({str(tmp_path)!r}), faults=["dies_after=2"])
for batch in range(5):
    board.clock.start_batch()
    print(batch, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["0", "1"]


def test_a_rebooting_board_dies_once_and_comes_back_with_another_boot_id(tmp_path: Path):
    code = f"""
from pathlib import Path
from edgepareto.agent.simulation import create_board
board = create_board("raspberry-pi-4b", Path({str(tmp_path)!r}), faults=["reboot_after=1"])
print(board.device.boot_id, (board.sys_root / "proc/sys/kernel/random/boot_id").read_text(), flush=True)
for batch in range(3):
    board.clock.start_batch()
"""
    first, second = (subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(2))
    assert (first.returncode, second.returncode) == (-signal.SIGKILL, 0)
    boots = [done.stdout.split() for done in (first, second)]
    assert boots[0][0] == boots[0][1] != boots[1][0] == boots[1][1]


def test_noise_is_only_a_factor_on_what_the_board_scatters_anyway(small_cnn: Path, tmp_path: Path):
    plain, loud = (
        np.log(run_ns(board, runtime_of(board, small_cnn), 1_000))
        for board in (
            create_board("raspberry-pi-4b", tmp_path / "plain"),
            create_board("raspberry-pi-4b", tmp_path / "loud", faults=["noise=5"]),
        )
    )
    quiet = np.abs(plain - np.median(plain)) < 0.05  # without the runs that are disturbed
    assert loud[quiet].std() / plain[quiet].std() == pytest.approx(5, rel=0.02)


def test_a_wrong_provider_is_a_verdict(small_cnn: Path, tmp_path: Path):
    board = create_board("raspberry-pi-4b", tmp_path, faults=["wrong_provider", "no_meter"])
    assert not board.device.has_meter
    with pytest.raises(WorkerError) as caught:
        runtime_of(board, small_cnn)
    assert caught.value.status is Status.WRONG_PROVIDER


@pytest.mark.parametrize(
    ("profile", "faults", "pace", "message"),
    [
        (
            "raspberry-pi-9",
            (),
            0,
            "known are raspberry-pi-zero-2w, raspberry-pi-4b, raspberry-pi-5, jetson-nano, jetson",
        ),
        ("raspberry-pi-4b", ("meter_stick",), 0, "known are i2c_error, bus_stalls"),
        ("raspberry-pi-4b", ("dies_after",), 0, "dies_after=2"),
        ("raspberry-pi-4b", ("i2c_error=often",), 0, "i2c_error=2"),
        ("raspberry-pi-4b", ("no_meter=1",), 0, "takes no count"),
        ("raspberry-pi-4b", ("noise=much",), 0, "fault noise: the value is 'much', it must be a number from 0 to 100"),
        ("raspberry-pi-4b", ("contention",), 0, "must be a number from 0 to 99"),
        ("raspberry-pi-4b", ("chip_clock=0.5",), 0, r"a number from 0\.9 to 1\.1"),
        ("raspberry-pi-4b", ("crash=x",), 0, "allowed are characters 0-9 and a-f, as in crash=07"),
        ("raspberry-pi-4b", (), -1.0, "pace is -1.0"),
    ],
)
def test_what_a_board_does_not_know_is_refused_with_what_it_does(profile, faults, pace, message, tmp_path: Path):
    with pytest.raises(ConfigError, match=message):
        create_board(profile, tmp_path, faults=faults, pace=pace)


def test_a_folder_that_is_no_board_says_so(tmp_path: Path):
    with pytest.raises(ConfigError, match="does not describe a simulated board"):
        open_board(tmp_path)
