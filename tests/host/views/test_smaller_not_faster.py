"""A candidate that is smaller but not faster is marked wherever its front is shown; others stay as they were."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

from edgepareto.host.domain import CandidateId, StudyFronts
from edgepareto.host.views import front_csv, front_json, front_tables, write_report
from fakes.fronts import study_fronts
from rich.console import Console


def with_a_slow_small_one() -> tuple[StudyFronts, CandidateId]:
    """The slowest front member but the dense model, with next to no MACs."""
    study = study_fronts()
    device = study.devices[0]
    slowest = next(p for p in reversed(device.front) if p.candidate.id != device.dense.candidate.id)
    small = replace(slowest, candidate=replace(slowest.candidate, macs=1000))
    front = tuple(small if point is slowest else point for point in device.front)
    changed = replace(device, front=front)
    return replace(study, devices=(changed, *study.devices[1:])), small.candidate.id


def shown(study: StudyFronts) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        for part in front_tables(study):
            console.print(part)
    return capture.get()


def file_of(candidate: CandidateId) -> str:
    return f"{candidate}.onnx"


def test_it_is_marked_in_the_table_with_a_line_that_says_where_to_look() -> None:
    study, candidate = with_a_slow_small_one()
    text = shown(study)
    assert "▽" in next(line for line in text.splitlines() if candidate in line)
    assert "▽ smaller but not faster: 1 of 80; host profile --ops shows why" in text
    assert "▽" not in shown(study_fronts())


def test_programs_find_it_and_only_where_it_is_true(tmp_path: Path) -> None:
    study, candidate = with_a_slow_small_one()
    points = [p for device in json.loads(front_json(study, file_of))["devices"] for p in device["front"]]
    assert [p["candidate"] for p in points if p.get("smaller_not_faster")] == [candidate]
    assert all("smaller_not_faster" not in p for p in points if p["candidate"] != candidate)
    rows = csv.DictReader(io.StringIO(front_csv(study, file_of)))
    assert [row["candidate"] for row in rows if row["smaller_not_faster"] == "true"] == [candidate]
    write_report(study, tmp_path / "fronts.html")
    assert "smaller but not faster: 1 of 80" in (tmp_path / "fronts.html").read_text()
