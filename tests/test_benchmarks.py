"""What can rot in the benchmarks without anyone noticing; their figures are for a person to run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_a_table_is_written_as_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from markdown_table import markdown_table

    assert markdown_table(["net", "seconds"], [["a", "1"], ["b", "2"]]).splitlines() == [
        "| net | seconds |",
        "| --- | --- |",
        "| a | 1 |",
        "| b | 2 |",
    ]


def test_the_pruning_benchmark_measures_what_is_asked_for() -> None:
    run = _pruning("--quick", "--only", "coverage")
    assert run.returncode == 0, run.stderr
    assert "### Channels that can be pruned\n| model | groups |" in run.stdout
    assert "light_squeezenet" in run.stdout
    assert "Seconds per candidate" not in run.stdout


def test_the_pruning_benchmark_names_the_sections_that_there_are() -> None:
    run = _pruning("--only", "coverage,taste")
    assert run.returncode == 2
    assert "no section 'taste'; known: accuracy, speed" in run.stderr


def test_the_measurement_benchmark_judges_the_meter_and_the_naive_one_beside_it() -> None:
    """T4, T5: on three chip clocks, as one sees them."""
    run = _benchmark("measurement.py", "--quick", "--only", "t4")
    assert run.returncode == 0, run.stderr
    assert "| T4 5 s windows, chip clock x1.1 | worst" in run.stdout
    assert "| T5 the same polled at 10 Hz | worst" in run.stdout
    assert run.stdout.endswith("all passed\n")


def test_the_measurement_benchmark_names_the_checks_that_there_are() -> None:
    run = _benchmark("measurement.py", "--only", "t4,t99")
    assert run.returncode == 2
    assert "no check 't99'; known: t4, t17, loop, t15" in run.stderr


def test_measurements_on_a_virtual_board_are_watched_for_what_they_leave_behind() -> None:
    run = _benchmark("measurement.py", "--quick", "--only", "board")
    assert run.returncode == 0, run.stdout + run.stderr
    for what in ("processes", "agent's descriptors", "host's descriptors"):
        assert re.search(rf"\| leaks, virtual board: {what} \| \+0\.00 ± \d", run.stdout), run.stdout
    # gRPC's pool begins a thread, of at most eight, where calls meet: one more is none that is left behind.
    assert re.search(r"\| leaks, virtual board: agent's threads \| .* \| pass \|", run.stdout), run.stdout


def test_a_model_is_sent_once_and_takes_neither_side_its_size_in_memory() -> None:
    run = _benchmark("upload.py", "--megabytes", "64", "--uploads", "1")
    assert re.search(r"\| 64 MB over loopback: TLS, sha256, fsync; median of 1 \| \d+ MB/s", run.stdout), run.stderr
    for passed in ("the host", "the agent", "the same model again"):
        assert re.search(rf"^\| .*{passed} \| .* \| pass \|$", run.stdout, re.MULTILINE), run.stdout


@pytest.mark.parametrize(("growth", "is_growth"), [(0.0, False), (0.02, False), (0.5, True), (-0.5, True)])
def test_growth_is_told_from_noise(monkeypatch: pytest.MonkeyPatch, growth: float, is_growth: bool) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from measurement_growth import slope_of

    at = np.arange(100.0)
    noise = np.random.default_rng(3).normal(0, 5, 100)
    slope = slope_of(at, 1000 + growth * at + noise)
    assert abs(slope.value - growth) < slope.half_width
    assert slope.is_zero(resolution=1.0) is not is_growth


def test_growth_by_less_than_one_step_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from measurement_growth import slope_of

    slope = slope_of(np.arange(100.0), 0.005 * np.arange(100.0))
    assert slope.is_zero(resolution=1.0)
    assert not slope.is_zero(resolution=0.4)


def test_memory_that_wanders_is_given_a_wider_interval_than_memory_that_jitters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from measurement_growth import slope_of

    jitter = np.random.default_rng(4).normal(0, 1, 200)
    wander = np.array([jitter[max(0, i - 20) : i + 1].sum() for i in range(200)])
    at = np.arange(200.0)
    plain = slope_of(at, jitter).half_width
    assert slope_of(at, wander).half_width > 3 * plain * wander.std() / jitter.std()


def _pruning(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _benchmark("pruning.py", *arguments)


def _benchmark(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments], capture_output=True, text=True, timeout=120
    )
