"""One simulated board, several runtimes: which there are, what each costs and draws, and that noise knows of none."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.runtime.litert_runtime import LiteRuntime
from edgepareto.agent.simulation import SimulatedBoard, create_board
from edgepareto.agent.simulation.lite_operators import list_lite_operators
from edgepareto.agent.simulation.operators import list_operators
from edgepareto.agent.simulation.profile import load_profile
from edgepareto.agent.simulation.runtime import SimulatedRuntime

JOB = "c1/search/0"
ONNX_FEED = {"x": np.ones((1, 3, 16, 16), np.float32)}
LITE_FEED = {"x": np.ones((1, 16, 16, 3), np.float32)}
TENSORRT = RuntimeOptions(name="onnxruntime", threads=1, provider="TensorrtExecutionProvider", precision="fp16")


def litert(precision: str = "fp32", threads: int = 1) -> RuntimeOptions:
    return RuntimeOptions(name="litert", threads=threads, provider="XNNPACK", precision=precision)


def runs(board: SimulatedBoard, options: RuntimeOptions, model: Path, count: int = 20) -> tuple[list[int], list[float]]:
    """Nanoseconds and watts of each, since a batch began."""
    board.clock.start_batch()
    runtime = SimulatedRuntime(options, board.folder, JOB)
    runtime.load(model)
    for _ in range(count):
        runtime.run(LITE_FEED if options.name == "litert" else ONNX_FEED)
    records = np.frombuffer((board.folder / "timeline").read_bytes()[8:], dtype=[("end_ns", "<i8"), ("power_w", "<f8")])
    ends_ns = [0, *records["end_ns"].tolist()]
    return [after - before for before, after in pairwise(ends_ns)], records["power_w"].tolist()


LITERT = {"XNNPACK": ("fp32", "fp16", "int8")}
CPU = {"CPUExecutionProvider": ("fp32",)}


@pytest.mark.parametrize(
    ("board", "figures"),
    [
        ("raspberry-pi-zero-2w", {"onnxruntime": CPU, "litert": {"XNNPACK": ("fp32", "fp16")}}),
        ("raspberry-pi-4b", {"onnxruntime": CPU, "litert": LITERT}),
        ("raspberry-pi-5", {"onnxruntime": CPU, "litert": LITERT}),
        ("jetson-nano", {"onnxruntime": {"TensorrtExecutionProvider": ("fp16", "fp32"), **CPU}}),
        ("jetson-orin-nano", {"onnxruntime": {"TensorrtExecutionProvider": ("fp16", "fp32", "int8"), **CPU}}),
    ],
)
def test_a_board_tells_what_it_has_figures_of_a_gpu_first(board: str, figures, tmp_path: Path):
    told = create_board(board, tmp_path).device.figures
    assert told == figures
    assert {name: list(known) for name, known in told.items()} == {name: list(known) for name, known in figures.items()}


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_litert_takes_as_long_as_its_own_table_says(precision: str, threads: int, small_lite_cnn: Path, tmp_path: Path):
    board = create_board("raspberry-pi-5", tmp_path)
    seen_ns, watts = runs(board, litert(precision, threads), small_lite_cnn, 400)
    real = LiteRuntime(litert())
    real.load(small_lite_cnn)
    table = load_profile("raspberry-pi-5").costs_of(litert(precision)).table
    assert np.median(seen_ns) == pytest.approx(
        table.latency_s(list_lite_operators(real.interpreter), threads) * 1e9, rel=0.03
    )
    assert np.median(watts) == pytest.approx(2.8 + 1.6 + 1.1 * (threads - 1), rel=0.01)


def test_tensorrt_takes_the_gpus_time_and_watts_whatever_threads_there_are(small_cnn: Path, tmp_path: Path):
    board = create_board("jetson-orin-nano", tmp_path)
    seen_ns, watts = runs(board, TENSORRT, small_cnn, 400)
    table = load_profile("jetson-orin-nano").costs_of(TENSORRT).table
    assert np.median(seen_ns) == pytest.approx(table.latency_s(list_operators(small_cnn, ONNX_FEED), 1) * 1e9, rel=0.03)
    assert np.median(watts) == pytest.approx(10.2, rel=0.01)
    more = RuntimeOptions(name=TENSORRT.name, threads=6, provider=TENSORRT.provider, precision="fp16")
    assert runs(board, more, small_cnn, 400) == (seen_ns, watts)


def test_a_power_mode_slows_the_gpus_arithmetic_and_the_cores_clock_alone_does_not(small_cnn: Path, tmp_path: Path):
    board = create_board("jetson-nano", tmp_path)
    full_ns, full_w = runs(board, TENSORRT, small_cnn)
    highest = board.sys_root / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    highest.write_text("918000\n")
    assert runs(board, TENSORRT, small_cnn) == (full_ns, full_w)
    subprocess.run([board.sys_root / "usr/sbin/nvpmodel", "-m", "1"], check=True)
    slow_ns, slow_w = runs(board, TENSORRT, small_cnn)
    assert all(full < slow <= full * 921.6 / 640 for full, slow in zip(full_ns, slow_ns, strict=True))
    assert np.mean(slow_w) == pytest.approx(3.1 + (5.65 - 3.1) * 640 / 921.6, rel=0.01)


def test_one_job_has_one_noise_whatever_runs_it(small_cnn: Path, small_lite_cnn: Path, tmp_path: Path):
    """A candidate names its runtime, so two of them differ in noise; but a runtime alone changes nothing of it."""
    board = create_board("raspberry-pi-5", tmp_path, seed=3)
    onnx = RuntimeOptions(name="onnxruntime", threads=1, provider="CPUExecutionProvider")
    seen = [runs(board, litert(precision), small_lite_cnn)[0] for precision in ("fp32", "fp16", "int8")]
    seen.append(runs(board, onnx, small_cnn)[0])
    relative = [np.array(ns) / ns[0] for ns in seen]
    assert seen[0] == seen[1]
    for one in relative[1:]:
        np.testing.assert_allclose(one, relative[0], rtol=1e-4)


def test_litert_on_a_simulated_board_never_loads_onnx_runtime(small_lite_cnn: Path, tmp_path: Path):
    board = create_board("raspberry-pi-4b", tmp_path)
    code = f"""
import sys
import numpy as np
from pathlib import Path
from edgepareto.agent.runtime import RuntimeOptions, open_runtime
options = RuntimeOptions(name="litert", threads=1, provider="XNNPACK")
runtime = open_runtime(options, board=Path({str(board.folder)!r}), job="c1/search/0")
runtime.load(Path({str(small_lite_cnn)!r}))
runtime.run({{"x": np.ones((1, 16, 16, 3), np.float32)}})
sys.exit("onnxruntime" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
