"""When it is said that energy ranks the candidates as latency does."""

from __future__ import annotations

import pytest
from edgepareto.host.domain import CandidateId, DeviceName, EnergyObjective, Interval, Measurement
from edgepareto.host.study.fronts import _rank_correlation


def measured(count: int) -> list[Measurement]:
    """Energy rises with latency."""

    def exact(value: float) -> Interval:
        return Interval(value=value, low=value, high=value)

    return [
        Measurement(
            candidate=CandidateId(str(place)),
            device=DeviceName("pi1"),
            latency_s=exact(place * 1e-3),
            energy_j=exact(place**2 * 1e-3),
            dynamic_energy_j=None,
            energy_systematic_j=None,
            reproducible=True,
            jobs=3,
            simulated=True,
            preset="quick",
        )
        for place in range(1, count + 1)
    ]


def test_of_fewer_than_ten_candidates_nothing_is_said() -> None:
    assert _rank_correlation(measured(9), EnergyObjective.TOTAL) is None
    assert _rank_correlation(measured(10), EnergyObjective.TOTAL) == pytest.approx(1)
