from __future__ import annotations

import os
from pathlib import Path

import pytest
from edgepareto.agent.profiling.memory import fitting, taking_too_much, too_large


@pytest.mark.parametrize(
    ("private", "free", "count"),
    [
        ([28, 28, 28, 28, 28, 28], 1000, 6),
        ([28, 28, 28, 28, 28, 28], 200, 3),  # 84 of at most 100
        ([28, 28, 28], 168, 3),
        ([28, 500, 28], 100, 2),  # one candidate is measured beside the anchor in any case
        ([900], 100, 1),
        ([], 100, 0),
    ],
)
def test_workers_stay_within_half_of_the_free_memory(private: list[int], free: int, count: int) -> None:
    assert fitting(private, free) == count


def test_a_model_that_is_larger_than_the_free_memory_is_not_tried() -> None:
    said = too_large(500_000_000, 200_000_000)
    assert said is not None
    assert said.startswith("the model's file holds 500 MB and the board has 200 MB of memory free")
    assert too_large(200, 200) is None
    assert too_large(500, None) is None  # a board that does not tell


@pytest.mark.parametrize(
    ("total_mb", "available_mb", "resident_mb", "ends"),
    [
        (1000, 40, 700, True),  # less than 50 MB are left
        (1000, 60, 700, False),
        (427, 31, 300, True),  # a Zero 2 W keeps 33.5 MB and no less
        (8000, 140, 7000, False),  # the largest board keeps 134 MB and no more
        (1000, 40, 30, False),  # others took it
    ],
)
def test_a_worker_ends_before_the_board_has_no_memory_left(
    tmp_path: Path, total_mb: int, available_mb: int, resident_mb: int, ends: bool
) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal: {total_mb * 1_000_000 // 1024} kB\nMemAvailable: {available_mb * 1_000_000 // 1024} kB\n"
    )
    pages = resident_mb * 1_000_000 // os.sysconf("SC_PAGE_SIZE")
    (tmp_path / "proc/7/statm").write_text(f"{2 * pages} {pages} 0 0 0 0 0\n")
    reason = taking_too_much(7, tmp_path)
    assert (reason is not None) == ends
    if reason is not None:
        assert f"the worker holds {resident_mb} MB and the board has {available_mb} MB of memory left" in reason


def test_a_worker_that_has_ended_and_a_board_that_does_not_tell_are_not_judged(tmp_path: Path) -> None:
    assert taking_too_much(7, tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 1 kB\n")
    assert taking_too_much(7, tmp_path) is None
