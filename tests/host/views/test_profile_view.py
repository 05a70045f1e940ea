"""`host profile` on a screen of any width and in JSON: no number is cut, no doubt is hidden."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.host.domain import Conditions, DeviceName, Interval, Job, Status, reduce_trace
from edgepareto.host.views import ProfileResult, profile_json, profile_table
from edgepareto.host.views.console import print_parts
from fakes.fronts import study_fronts
from fakes.jobs import TRACE, job
from rich.console import Console

MODEL = "mobilenet_v2.onnx"
LATENCY_S = Interval(value=0.1234, low=0.12325, high=0.12355)


def result(of: Job, device: str = "raspberry1", model: str = MODEL) -> ProfileResult:
    info = replace(study_fronts().devices[0].device, name=DeviceName(device))
    return ProfileResult(model=Path(model), device=info, job=of, runtime=None, inputs="calibration")


def measured(**changed: object) -> Job:
    """With latency and energy; the latency has many digits."""
    whole = reduce_trace(TRACE)
    assert whole.latency is not None
    return replace(whole, latency=replace(whole.latency, median_s=LATENCY_S), **changed)  # type: ignore[arg-type]


def shown(*results: ProfileResult, width: int = 160) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        print_parts(console, profile_table(results))
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_number_and_no_name_is_cut_at_any_width(width: int) -> None:
    text = shown(result(measured()), result(measured(), "jetson"), width=width)
    table = text[: text.index("  ! ")]
    assert "…" not in text
    assert table.count("123.40 ± 0.15 ms") == table.count(" mJ") == 2
    assert table.count(MODEL) == 2
    assert table.count("raspberry1") == table.count("jetson") == 1
    assert max(map(len, table.splitlines())) <= width
    assert ("raspberry-pi-4b (SIMULATED)" in table) is (width >= 140)
    assert "! SIMULATED: no board was measured, a model of raspberry-pi-4b gave the numbers of jetson" in text


def test_a_name_longer_than_the_screen_is_folded_and_the_numbers_stay() -> None:
    text = shown(result(measured(), model=f"{'a' * 50}[v2].onnx"), width=60)
    assert "…" not in text
    assert "123.40 ± 0.15 ms" in text
    folded = "".join(line.split()[0] for line in text.splitlines())
    assert f"{'a' * 50}[v2].onnx" in folded


def test_tags_and_what_was_voided_stand_under_the_table() -> None:
    tags = frozenset({"NOT_CONVERGED", "ANCHOR_DRIFT"})
    text = shown(result(measured(tags=tags, voided=3)), result(measured(), "jetson"))
    assert f"! {MODEL} on raspberry1: ANCHOR_DRIFT, NOT_CONVERGED; 3 voided and measured again\n" in text
    assert "on jetson:" not in text
    assert f"! {MODEL} on jetson: 1 voided" in shown(result(measured(voided=1), "jetson"))


@pytest.mark.parametrize("width", [60, 140])
def test_a_failure_is_told_at_any_width_and_has_its_conditions_in_json(width: int) -> None:
    failed = replace(
        job(0.01), latency=None, status=Status.TOO_HOT, message="85 C", before=Conditions(temperature_c=85.0)
    )
    results = (result(failed), result(measured(), "jetson"))
    assert "TOO_HOT" in shown(*results, width=width)
    record = json.loads(profile_json(results))["results"][0]
    assert (record["status"], record["before"]) == ("TOO_HOT", {"temperature_c": 85.0})
    assert "latency_s" not in record
