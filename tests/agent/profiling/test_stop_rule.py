from __future__ import annotations

import numpy as np
import pytest
from edgepareto.agent.profiling.stop_rule import TARGET, is_settled, relative_half_width
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

medians = st.lists(st.floats(1e5, 1e9), min_size=3, max_size=15)


@given(medians)
def test_the_half_width_is_that_of_students_interval_of_the_mean(block_medians: list[float]) -> None:
    values = np.array(block_medians)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values) or 1e-12)
    assert relative_half_width(block_medians) == pytest.approx((high - low) / 2 / values.mean(), rel=3e-4, abs=1e-9)


@given(medians, st.floats(1e-3, 1e3), st.randoms())
def test_neither_the_unit_nor_the_order_of_the_blocks_decides(block_medians: list[float], unit: float, random) -> None:
    shuffled = [median * unit for median in block_medians]
    random.shuffle(shuffled)
    assert relative_half_width(shuffled) == pytest.approx(relative_half_width(block_medians), rel=1e-6, abs=1e-9)


@given(st.lists(st.floats(1e5, 1e9), max_size=2))
def test_two_blocks_never_settle_anything_however_alike(block_medians: list[float]) -> None:
    assert relative_half_width(block_medians) is None
    assert not is_settled(block_medians)


@given(st.floats(1e5, 1e9), st.integers(3, 8), st.floats(0.05, 0.9))
def test_a_block_that_stands_out_keeps_a_candidate_from_settling(level: float, count: int, extra: float) -> None:
    steady = [level] * count
    assert is_settled(steady)
    assert not is_settled([*steady[1:], level * (1 + extra)]), "one block of eight that is off by 5 %"


@given(st.integers(0, 2**32), st.integers(3, 15))
def test_more_blocks_of_the_same_spread_make_it_narrower(seed: int, count: int) -> None:
    blocks = list(np.random.default_rng(seed).normal(1.0, 0.01, count))
    one, four = relative_half_width(blocks), relative_half_width(blocks * 4)
    assert one is not None
    assert four is not None
    assert four < one


def test_the_target_is_one_percent() -> None:
    assert TARGET == 0.01
    # Half width 4.303 x sd / sqrt(3), sd = half the distance of the outer two.
    just = 0.01 * np.sqrt(3) / 4.303
    assert is_settled([1 - 0.99 * just, 1.0, 1 + 0.99 * just])
    assert not is_settled([1 - 1.01 * just, 1.0, 1 + 1.01 * just])
