from __future__ import annotations

import pytest
from edgepareto.agent.profiling.memory import fitting, too_large


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
