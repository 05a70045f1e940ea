"""What can rot in the benchmarks without anyone noticing; their figures are for a person to run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def _pruning(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "pruning.py"), *arguments], capture_output=True, text=True, timeout=120
    )
