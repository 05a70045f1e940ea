from __future__ import annotations

import itertools

import pytest
from edgepareto.host.search import HypervolumeScale, hypervolume
from hypothesis import given
from hypothesis import strategies as st

UNIT = HypervolumeScale(best=(0.0, 0.0), worst=(1.0, 1.0))
coordinates = st.integers(0, 12).map(lambda tenths: tenths / 10)


def test_two_points_against_the_reference_by_hand() -> None:
    assert hypervolume([(0.1, 0.6), (0.6, 0.1)], UNIT) == pytest.approx(2 * 1.0 * 0.5 - 0.5 * 0.5)


def test_no_point_and_points_beyond_the_reference_have_no_volume() -> None:
    assert hypervolume([], UNIT) == 0.0
    assert hypervolume([(1.2, 0.0), (0.0, 1.1)], UNIT) == 0.0


def test_the_scale_is_the_box_of_the_ladder_and_a_flat_axis_keeps_its_unit() -> None:
    scale = HypervolumeScale.spanned_by([(0.1, -3.0, 2.0), (0.3, -4.0, 2.0)])
    assert scale == HypervolumeScale(best=(0.1, -4.0, 2.0), worst=(0.3, -3.0, 2.0))
    assert hypervolume([(0.1, -4.0, 2.0)], scale) == pytest.approx(1.1**3)


@given(st.lists(st.tuples(coordinates, coordinates, coordinates), min_size=1, max_size=6))
def test_it_is_the_share_of_grid_cells_that_some_point_dominates(points: list[tuple[float, float, float]]) -> None:
    scale = HypervolumeScale(best=(0.0,) * 3, worst=(1.0,) * 3)
    cells = itertools.product(range(11), repeat=3)
    covered = sum(
        any(all(round(p * 10) <= c for p, c in zip(point, cell, strict=True)) for point in points) for cell in cells
    )
    assert hypervolume(points, scale) == pytest.approx(covered / 1000, abs=1e-9)


@given(st.lists(st.tuples(coordinates, coordinates), max_size=8), st.tuples(coordinates, coordinates))
def test_one_more_point_never_lowers_it(points: list[tuple[float, float]], extra: tuple[float, float]) -> None:
    assert hypervolume([*points, extra], UNIT) >= hypervolume(points, UNIT) - 1e-12
