"""Finding the step of staircases that are known, under noise."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from edgepareto.host.domain.staircase import (
    COARSE_WIDTHS,
    REFERENCE_WIDTH,
    STEPS,
    Staircase,
    decisive_widths,
    find_step,
)
from hypothesis import given
from hypothesis import strategies as st

WIDTHS = (*[REFERENCE_WIDTH] * len(COARSE_WIDTHS), *chain(*COARSE_WIDTHS))
seeds = st.integers(0, 2**32 - 1)


def stairs(
    step: int,
    *,
    seed: int,
    noise: float = 0.0,
    share: float = 1.0,
    fixed: float = 4.0,
    widths: tuple[int, ...] = WIDTHS,
) -> list[float]:
    """Seconds: `fixed` channels' worth of overhead, and per channel `share` in whole steps, the rest as a slope."""
    c = np.array(widths)
    seconds = 1e-5 * (fixed + (1 - share) * c + share * np.ceil(c / step) * step)
    return list(seconds * np.exp(noise * np.random.default_rng(seed).standard_normal(len(c))))


def pair(step: int, *, share: float = 1.0) -> Staircase:
    return find_step(WIDTHS, stairs(step, seed=0, share=share), noise=0.003)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("share", [0.4, 0.7, 1.0])
def test_every_step_is_found_for_sure_on_a_quiet_board_also_where_stairs_are_sloped(step: int, share: float) -> None:
    found = pair(step, share=share)
    assert (found.step, found.is_sure) == (step, True)


def test_the_jump_is_that_of_one_channel_more_at_the_reference_width() -> None:
    assert pair(8).jump == pytest.approx(8 / (4 + 32), rel=0.02)
    assert pair(1).jump == 0.0


@given(
    step=st.sampled_from(STEPS),
    noise=st.floats(0, 0.03),
    share=st.floats(0.35, 1.0),
    fixed=st.floats(0, 20),
    seed=seeds,
)
def test_an_answer_that_is_sure_is_the_true_one_under_any_noise(
    step: int, noise: float, share: float, fixed: float, seed: int
) -> None:
    found = find_step(WIDTHS, stairs(step, seed=seed, noise=noise, share=share, fixed=fixed), noise)
    assert found.step == step or not found.is_sure


@pytest.mark.parametrize("step", [8, 16, 32])
def test_large_steps_are_nearly_always_sure_at_three_percent_of_noise(step: int) -> None:
    found = [find_step(WIDTHS, stairs(step, seed=seed, noise=0.03), noise=0.03) for seed in range(200)]
    assert sum((one.step, one.is_sure) == (step, True) for one in found) >= 196


@given(seed=seeds, noise=st.floats(0, 0.01))
def test_a_line_is_never_taken_for_a_staircase(seed: int, noise: float) -> None:
    found = find_step(WIDTHS, stairs(1, seed=seed, noise=noise), noise)
    assert found.step == 1 or not found.is_sure


def test_what_is_too_noisy_to_tell_says_which_steps_remain() -> None:
    found = find_step(WIDTHS, stairs(2, seed=1, noise=0.05), noise=0.05)
    assert not found.is_sure
    assert {found.step, *found.rivals} >= {1, 2}


def test_noise_that_was_told_too_small_is_seen_in_what_the_best_shape_leaves() -> None:
    found = find_step(WIDTHS, stairs(8, seed=3, noise=0.03), noise=0.0)
    assert 0.015 < found.noise < 0.06


def test_a_curve_that_bends_smoothly_is_no_staircase() -> None:
    c = np.array(WIDTHS)
    memory_bound_first = np.maximum(40.0 + 0.2 * c, 30.0 + c) * 1e-5
    noise = np.exp(0.004 * np.random.default_rng(5).standard_normal(len(c)))
    assert find_step(WIDTHS, list(memory_bound_first * noise), 0.004).step == 1
    assert find_step(WIDTHS, list((100 + 0.02 * c**2) * 1e-5 * noise), 0.004).step == 1


@pytest.mark.parametrize("step", [4, 8, 16])
def test_a_fast_path_for_multiples_alone_is_a_step_too(step: int) -> None:
    c = np.array(WIDTHS)
    seconds = 1e-5 * (4 + c * np.where(c % step == 0, 1.0, 1.4))
    found = find_step(WIDTHS, list(seconds), noise=0.005)
    assert (found.step, found.is_sure) == (step, True)
    assert found.jump == pytest.approx(0.4 * 32 / 36, rel=0.1)


def test_stairs_of_one_step_and_a_fast_path_of_a_smaller_one_give_the_larger() -> None:
    """As MLAS times depthwise convolutions on x86: multiples of 4 take the blocked path, in blocks of 16."""
    c = np.array(WIDTHS)
    seconds = 1e-5 * (10 + np.ceil(c / 16) * 16 + np.where(c % 4 == 0, 0, 3 * c))
    found = find_step(WIDTHS, list(seconds * np.exp(0.01 * np.random.default_rng(2).standard_normal(len(c)))), 0.01)
    assert (found.step, found.is_sure) == (16, True)


def test_measuring_decisive_widths_again_makes_an_unsure_answer_sure() -> None:
    widths, seconds = list(WIDTHS), stairs(2, seed=4, noise=0.02, share=0.5)
    assert not find_step(widths, seconds, 0.02).is_sure
    for round in range(12):
        again = decisive_widths(widths, seconds, 0.02, count=5)
        assert len(again) == 5
        assert REFERENCE_WIDTH not in again
        widths += again
        seconds += stairs(2, seed=100 + round, noise=0.02, share=0.5, widths=again)
    found = find_step(widths, seconds, 0.02)
    assert (found.step, found.is_sure) == (2, True)


@pytest.mark.parametrize(
    ("widths", "seconds"),
    [((8, 16, 24), [1.0, 2.0, 3.0]), (WIDTHS, [1.0] * (len(WIDTHS) - 1)), (WIDTHS, [0.0] * len(WIDTHS))],
)
def test_too_little_to_judge_is_refused(widths: tuple[int, ...], seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="widths"):
        find_step(widths, seconds, 0.01)
