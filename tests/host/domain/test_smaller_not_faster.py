"""Which candidates do less and are not faster for it, on numbers that are known."""

from __future__ import annotations

import pytest
from edgepareto.host.domain.smaller_not_faster import Work, is_smaller_not_faster
from hypothesis import given
from hypothesis import strategies as st

R_K = 0.02
DENSE = Work(macs=1000, latency_s=0.100)


def flagged(macs: int | None, latency_s: float, *others: tuple[int, float], limit: float = R_K) -> bool:
    works = [Work(macs=m, latency_s=s) for m, s in others]
    return is_smaller_not_faster(Work(macs=macs, latency_s=latency_s), works, DENSE, limit)


@pytest.mark.parametrize(
    ("macs", "latency_s", "expected"),
    [
        (950, 0.0990, True),  # 5 % fewer than dense, 1 % faster
        (950, 0.0981, True),  # 1.94 % faster
        (950, 0.0980, False),  # 2.04 % faster
        (951, 0.1100, False),  # too few are saved for a promise
        (500, 0.1000, True),
        (500, 0.0500, False),
        (None, 0.1, False),
    ],
)
def test_five_percent_fewer_than_dense_must_show_beyond_the_repeatability_limit(macs, latency_s, expected) -> None:
    assert flagged(macs, latency_s) is expected


def test_a_larger_candidate_that_is_faster_beyond_the_limit_flags_the_smaller_one() -> None:
    assert flagged(500, 0.060, (600, 0.058))
    assert not flagged(500, 0.060, (600, 0.059))  # 1.7 %: not distinguishable
    assert not flagged(590, 0.060, (600, 0.050))  # hardly smaller
    assert not flagged(600, 0.050, (500, 0.060))  # it is the other one


def test_where_the_limit_is_not_known_nothing_is_said() -> None:
    assert not flagged(500, 0.2, (600, 0.05), limit=0.0)


@given(st.lists(st.tuples(st.integers(100, 1000), st.floats(0.01, 0.2)), max_size=20))
def test_latency_that_follows_the_macs_flags_nothing(sizes: list[tuple[int, float]]) -> None:
    works = [(macs, macs * 1e-4) for macs, _ in sizes]
    assert not any(flagged(macs, latency_s, *works) for macs, latency_s in works)
