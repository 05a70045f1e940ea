"""`host front` on a screen of any width."""

from __future__ import annotations

import pytest
from edgepareto.host.domain import StudyFronts
from edgepareto.host.views import front_tables
from edgepareto.host.views.figures import energy_text, latency_text
from fakes.fronts import run_in_many_ways, study_fronts
from rich.console import Console


@pytest.mark.parametrize("study", [study_fronts(), run_in_many_ways(study_fronts())], ids=["as set", "many ways"])
@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_number_and_no_candidate_is_cut(width: int, study: StudyFronts) -> None:
    console = Console(width=width)
    with console.capture() as capture:
        for part in front_tables(study, width=width):
            console.print(part)
    text = capture.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for device in study.devices:
        for point in (device.dense, *device.front):
            row = next(line for line in text.splitlines() if point.candidate.id in line)
            assert latency_text(point.measurement.latency_s).removesuffix(" ms") in row
            if device.has_energy:
                assert energy_text(device.energy(point)).removesuffix(" mJ") in row
