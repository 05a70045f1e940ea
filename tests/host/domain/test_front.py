"""Dominance under noise is a strict partial order, and the front follows from it; all compared with brute force."""

from __future__ import annotations

import itertools
import math

import pytest
from edgepareto.host.domain import (
    CandidateId,
    Constraints,
    Estimate,
    Repeatability,
    dominates,
    front,
    knee,
    near_front,
)
from hypothesis import given
from hypothesis import strategies as st

NO_NOISE = Repeatability(latency=0, energy=0, repeats=0)

# Few distinct values, so that ties and near-ties within the limits are common.
errors = st.integers(0, 6).map(lambda i: i / 100)
seconds = st.integers(0, 12).map(lambda i: 0.01 * 1.01**i)
limits = st.builds(
    Repeatability,
    latency=st.sampled_from([0, 0.012, 0.035]),
    energy=st.sampled_from([0, 0.025, 0.055]),
    repeats=st.just(9),
)


@st.composite
def clouds(draw: st.DrawFn, size: int = 12) -> list[Estimate]:
    with_energy = draw(st.booleans())
    points = draw(st.lists(st.tuples(errors, seconds, seconds), min_size=1, max_size=size))
    return [
        Estimate(candidate=CandidateId(str(i)), error=e, latency_s=t, energy_j=j if with_energy else None)
        for i, (e, t, j) in enumerate(points)
    ]


def by_definition(a: Estimate, b: Estimate, r: Repeatability) -> bool:
    """measurement.md's sentence in ratios, written without the code's logarithms."""
    pairs = [(a.error, b.error), (a.latency_s, b.latency_s)]
    better = [a.error < b.error, b.latency_s / a.latency_s > (1 + r.latency)]
    if a.energy_j is not None and b.energy_j is not None:
        pairs.append((a.energy_j, b.energy_j))
        better.append(b.energy_j / a.energy_j > (1 + r.energy))
    return all(x <= y for x, y in pairs) and any(better)


@given(clouds(), limits)
def test_dominance_is_what_the_specification_says(cloud: list[Estimate], r: Repeatability) -> None:
    for a, b in itertools.product(cloud, cloud):
        assert dominates(a, b, r) == by_definition(a, b, r)


@given(clouds(size=7), limits)
def test_dominance_is_a_strict_partial_order(cloud: list[Estimate], r: Repeatability) -> None:
    assert not any(dominates(a, a, r) for a in cloud)
    for a, b, c in itertools.product(cloud, repeat=3):
        if dominates(a, b, r) and dominates(b, c, r):
            assert dominates(a, c, r)


def equal_when_close(a: Estimate, b: Estimate, limit: float) -> bool:
    """The rule that is no order: closer than the limit counts as equal in that objective."""
    gains = [y - x for x, y in zip(a.costs, b.costs, strict=True)]
    return all(gain >= -limit for gain in gains) and any(gain > limit for gain in gains)


def test_a_rule_that_calls_close_values_equal_makes_a_circle_and_would_fail_these_properties() -> None:
    """Three points, each better than the next by 0.06 in one objective and worse by 0.03 in two; the limit is 0.05."""
    circle = [
        Estimate(candidate=CandidateId(str(i)), error=error, latency_s=math.exp(t), energy_j=math.exp(j))
        for i, (error, t, j) in enumerate([(0.0, 0.03, 0.06), (0.03, 0.06, 0.0), (0.06, 0.0, 0.03)])
    ]
    a, b, c = circle
    assert equal_when_close(b, a, 0.05)
    assert equal_when_close(c, b, 0.05)
    assert not equal_when_close(c, a, 0.05)  # so it is not transitive
    assert equal_when_close(a, c, 0.05)
    assert [e for e in circle if not any(equal_when_close(other, e, 0.05) for other in circle)] == []
    assert front(circle, Repeatability(latency=0.05, energy=0.05, repeats=9)) == tuple(
        sorted(circle, key=lambda e: e.latency_s)
    )


@given(clouds(), limits)
def test_a_front_is_never_empty_and_holds_exactly_the_undominated(cloud: list[Estimate], r: Repeatability) -> None:
    members = front(cloud, r)
    assert members
    for e in cloud:
        assert (e in members) == (not any(dominates(other, e, r) for other in cloud))
    assert list(members) == sorted(members, key=lambda e: (e.latency_s, e.error, e.candidate))


@given(clouds(), limits)
def test_near_the_front_are_its_members_and_whoever_could_enter(cloud: list[Estimate], r: Repeatability) -> None:
    members, near = front(cloud, r), near_front(cloud, r)
    assert set(members) <= set(near) <= set(cloud)
    for e in set(cloud) - set(near):
        # Beaten by someone even were it better by the limit in both measured objectives.
        assert any(dominates(m, e, r) for m in members)
    if r == NO_NOISE:
        assert set(near) == set(members)


def test_a_point_within_the_repeatability_limit_is_near_and_one_beyond_is_not() -> None:
    r = Repeatability(latency=0.05, energy=0.05, repeats=9)
    best = Estimate(candidate=CandidateId("best"), error=0.10, latency_s=1.00, energy_j=None)
    close = Estimate(candidate=CandidateId("close"), error=0.11, latency_s=1.04, energy_j=None)
    slow = Estimate(candidate=CandidateId("slow"), error=0.11, latency_s=1.06, energy_j=None)
    assert front([best, close, slow], r) == (best,)
    assert near_front([best, close, slow], r) == (best, close)


def test_of_the_three_networks_of_the_worked_example_cnn_1_alone_is_the_front() -> None:
    """Precision .95 .90 .95, 10 20 15 ms, 100 200 150 W: CNN-1 is no worse in anything and dominates both others."""
    networks = [
        Estimate(candidate=CandidateId(name), error=1 - precision, latency_s=t, energy_j=w * t)
        for name, precision, t, w in [
            ("CNN-1", 0.95, 0.010, 100.0),
            ("CNN-2", 0.90, 0.020, 200.0),
            ("CNN-3", 0.95, 0.015, 150.0),
        ]
    ]
    assert [e.candidate for e in front(networks, NO_NOISE)] == ["CNN-1"]
    assert [e.candidate for e in front(networks, Repeatability(latency=0.1, energy=0.1, repeats=3))] == ["CNN-1"]


def test_the_knee_is_the_corner_nearest_to_the_ideal() -> None:
    corner = [
        Estimate(candidate=CandidateId(name), error=error, latency_s=math.exp(log_s), energy_j=None)
        for name, error, log_s in [("fast", 0.30, 0.0), ("corner", 0.11, 0.2), ("exact", 0.10, 1.0)]
    ]
    assert knee(corner).candidate == "corner"
    assert knee(corner[:1]).candidate == "fast"
    with pytest.raises(ValueError, match="empty front"):
        knee([])


def test_limits_hold_exactly_at_their_value_and_unknown_energy_breaks_an_energy_limit() -> None:
    limit = Constraints(min_accuracy=0.9, max_latency_s=0.02, max_energy_j=0.1)
    at_the_limit = Estimate(candidate=CandidateId("a"), error=1 - 0.9, latency_s=0.02, energy_j=0.1)
    assert limit.allow(at_the_limit)
    assert limit.count == 3 == len(limit.violation(at_the_limit))
    for broken in ({"error": 0.11}, {"latency_s": 0.021}, {"energy_j": 0.11}, {"energy_j": None}):
        values = {"error": 0.1, "latency_s": 0.02, "energy_j": 0.1, **broken}
        assert not limit.allow(Estimate(candidate=CandidateId("b"), **values))
    assert Constraints().allow(at_the_limit)
