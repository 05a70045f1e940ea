"""Utilisation and the time that is left, on a clock of the test's own."""

from __future__ import annotations

import pytest
from edgepareto.host.study.pace import Pace


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_utilisation_is_the_share_of_time_in_which_the_board_was_measuring():
    clock = Clock()
    pace = Pace(clock)
    assert pace.utilisation is None
    clock.now_s += 2
    pace.measuring_begins()
    clock.now_s += 6
    assert pace.utilisation == pytest.approx(6 / 8)  # also while a batch is being measured
    pace.measuring_ends(3)
    clock.now_s += 4
    assert pace.utilisation == pytest.approx(6 / 12)


def test_what_is_left_follows_from_the_time_that_each_measurement_took_with_its_waiting():
    clock = Clock()
    pace = Pace(clock)
    clock.now_s += 5
    pace.measuring_begins()
    assert pace.left_s(10) is None
    clock.now_s += 5
    pace.measuring_ends(5)
    assert pace.left_s(10) == pytest.approx(20)
    clock.now_s += 3
    assert pace.left_s(10) == pytest.approx(17)
    clock.now_s += 100
    assert pace.left_s(10) == 0


def test_a_batch_that_brings_the_budget_nothing_makes_the_rest_take_longer():
    clock = Clock()
    pace = Pace(clock)
    for measured in (5, 0):
        pace.measuring_begins()
        clock.now_s += 10
        pace.measuring_ends(measured)
    assert pace.left_s(5) == pytest.approx(20)
