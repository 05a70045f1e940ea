"""The difference of two models on the same samples: known answers, and that its interval holds what it says."""

from __future__ import annotations

import numpy as np
import pytest
from edgepareto.host.domain.paired_accuracy import accuracy_difference, pack_hits, sampling_noise, unpack_hits
from hypothesis import given
from hypothesis import strategies as st

hits = st.lists(st.booleans(), min_size=1, max_size=70)


@given(hits)
def test_packing_loses_nothing_and_takes_a_bit_a_sample(right: list[bool]) -> None:
    packed = pack_hits(np.array(right))
    assert unpack_hits(packed).tolist() == right
    assert len(packed) == 4 + -(-len(right) // 8)


def test_the_difference_counts_who_changed_and_its_interval_is_wald_plus_two() -> None:
    """Of 100 samples 15 are lost and 5 gained: (5 - 15) / 102 +- 1.96 sqrt(21 - 100 / 102) / 102, worked by hand."""
    dense = np.arange(100) < 80
    mine = dense.copy()
    mine[:15] = False
    mine[80:85] = True
    found = accuracy_difference(pack_hits(mine), pack_hits(dense))
    assert found is not None
    assert found.value == pytest.approx(-0.10)
    assert (found.low, found.high) == pytest.approx((-0.184016, -0.012062), abs=1e-6)


def test_what_was_not_scored_sample_by_sample_on_the_same_samples_has_no_difference() -> None:
    ten, eleven = pack_hits(np.ones(10, bool)), pack_hits(np.ones(11, bool))
    assert accuracy_difference(None, ten) is accuracy_difference(ten, None) is None
    assert accuracy_difference(ten, eleven) is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=70))
def test_the_interval_holds_the_difference_within_its_bounds_and_turns_with_the_models(
    pairs: list[tuple[bool, bool]],
) -> None:
    mine, dense = (pack_hits(np.array(column)) for column in zip(*pairs, strict=True))
    there, back = accuracy_difference(mine, dense), accuracy_difference(dense, mine)
    assert there is not None
    assert back is not None
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert (there.low, there.value, there.high) == pytest.approx((-back.high, -back.value, -back.low))


@pytest.mark.parametrize(("n", "lost", "gained"), [(1000, 0.03, 0.01), (5000, 0.002, 0.002), (200, 0.10, 0.02)])
def test_the_interval_holds_the_true_difference_in_95_of_100_draws_and_the_unpaired_one_is_wider(
    n: int, lost: float, gained: float
) -> None:
    random = np.random.default_rng(1)
    held, width = [], []
    for _ in range(2000):
        fate = random.random(n)
        dense = fate < 0.9
        mine = (fate >= lost) & (fate < 0.9 + gained)
        found = accuracy_difference(pack_hits(mine), pack_hits(dense))
        assert found is not None
        held.append(found.low <= gained - lost <= found.high)
        width.append(found.half_width)
    assert np.mean(held) >= 0.935
    assert np.mean(width) < 1.96 * np.sqrt(2 * 0.9 * 0.1 / n)


def test_the_noise_of_an_accuracy_falls_with_the_samples_and_is_never_0() -> None:
    right = np.arange(1000) % 10 != 0
    assert sampling_noise(pack_hits(right)) == pytest.approx(np.sqrt(0.1 * 0.9 / 1000), rel=0.01)
    assert sampling_noise(pack_hits(right[:250])) == pytest.approx(2 * sampling_noise(pack_hits(right)), rel=0.02)
    assert 0 < sampling_noise(pack_hits(np.ones(1000, dtype=bool))) < 0.001
