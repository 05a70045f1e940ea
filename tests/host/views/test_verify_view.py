from __future__ import annotations

import json

import pytest
from edgepareto.host.domain import CandidateId, Deployment, Interval
from edgepareto.host.domain.verified import Verified, VerifiedDevice
from edgepareto.host.views import verified_json, verified_tables
from fakes.fronts import study_fronts
from rich.console import Console

INT8 = Deployment(runtime="litert", precision="int8")
ALIKE = Verified(
    candidate=CandidateId("a1b2c3d4e5f6"),
    deployment=Deployment(),
    on_host=0.9,
    on_board=0.9,
    difference=Interval(value=0.0, low=-0.004, high=0.004),
)
WORSE = Verified(
    candidate=CandidateId("0123456789ab"),
    deployment=INT8,
    on_host=0.88,
    on_board=0.82,
    difference=Interval(value=-0.06, low=-0.08, high=-0.04),
)
FAILED = Verified(
    candidate=CandidateId("ffffffffffff"),
    deployment=INT8,
    on_host=0.88,
    on_board=None,
    failure="pi1: UNSUPPORTED_OP no kernel",
)
FOUND = VerifiedDevice(
    device=study_fronts().devices[0].device, metric="top1", split="test", samples=500, candidates=(ALIKE, WORSE, FAILED)
)


@pytest.mark.parametrize("width", [60, 100])
def test_who_differs_from_the_host_and_who_failed_is_seen_at_any_width(width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    with console.file:
        for part in verified_tables(FOUND):
            console.print(part)
    lines = console.export_text().splitlines()
    rows = {one.candidate: next(line.split() for line in lines if one.candidate in line) for one in FOUND.candidates}
    assert rows[ALIKE.candidate][-1] == "no"
    assert rows[WORSE.candidate][-1] == "YES"
    assert rows[FAILED.candidate][-1] == "failed"
    text = " ".join(" ".join(lines).split())
    assert "-6.0 ±2.0" in text
    assert f"what runs on the board is not what was scored: {WORSE.candidate}" in text
    assert "500 samples of the test split" in text
    assert "UNSUPPORTED_OP no kernel" in text
    assert "SIMULATED" in text


def test_the_json_has_shares_and_leaves_out_what_is_not_known() -> None:
    record = json.loads(verified_json(FOUND))
    assert {name: record[name] for name in ("schema", "metric", "split", "samples", "simulated")} == {
        "schema": 1,
        "metric": "top1",
        "split": "test",
        "samples": 500,
        "simulated": True,
    }
    alike, worse, failed = record["candidates"]
    assert alike["differs"] is False
    assert worse == {
        "candidate": "0123456789ab",
        "runtime": "litert",
        "precision": "int8",
        "host_accuracy": 0.88,
        "board_accuracy": 0.82,
        "difference": -0.06,
        "difference_low": -0.08,
        "difference_high": -0.04,
        "differs": True,
    }
    assert failed == {
        "candidate": "ffffffffffff",
        "runtime": "litert",
        "precision": "int8",
        "host_accuracy": 0.88,
        "failure": "pi1: UNSUPPORTED_OP no kernel",
    }
