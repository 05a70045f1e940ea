"""A branch that may be left out is listed with what it holds, and one that is, wherever its candidate is shown."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import onnx
from edgepareto.host.domain import CandidateId, StudyFronts
from edgepareto.host.export import export_candidate
from edgepareto.host.pruning import analyse
from edgepareto.host.views import front_csv, front_json, front_tables, write_report
from edgepareto.host.views.model_view import inspect_json, inspect_table
from fakes.fronts import study_fronts
from rich.console import Console, RenderableType

EXAMPLE = Path(__file__).parents[3] / "examples" / "fashion_mnist" / "resnet.onnx"
DROPPED = ("/block2/Add", "/block3/Add")
TOLD = "/block2/Add, /block3/Add"


def without_branches() -> tuple[StudyFronts, CandidateId]:
    """The fastest front member of the first device has none of DROPPED."""
    study = study_fronts()
    device = study.devices[0]
    fastest = device.front[0]
    genome = replace(fastest.candidate.genome, dropped=DROPPED)
    shorter = replace(fastest, candidate=replace(fastest.candidate, genome=genome))
    changed = replace(device, front=(shorter, *device.front[1:]))
    return replace(study, devices=(changed, *study.devices[1:])), fastest.candidate.id


def shown(*parts: RenderableType) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get()


def file_of(candidate: CandidateId) -> str:
    return f"{candidate}.onnx"


def test_people_and_programs_read_which_branches_a_candidate_is_without(tmp_path: Path) -> None:
    study, candidate = without_branches()
    assert f"{candidate} is without {TOLD}" in shown(*front_tables(study))
    assert "without" not in shown(*front_tables(study_fronts()))
    points = [p for device in json.loads(front_json(study, file_of))["devices"] for p in device["front"]]
    assert [(p["candidate"], p["dropped_branches"]) for p in points if "dropped_branches" in p] == [(candidate, TOLD)]
    rows = csv.DictReader(io.StringIO(front_csv(study, file_of)))
    assert [row["candidate"] for row in rows if row["dropped_branches"] == TOLD] == [candidate]
    write_report(study, tmp_path / "fronts.html")
    page = (tmp_path / "fronts.html").read_text().replace("\\u002f", "/")
    assert f"without {TOLD}" in page


def test_a_card_names_them_beside_the_channels(tmp_path: Path) -> None:
    (tmp_path / "stored.onnx").write_bytes(b"model")
    made = []
    for study in (without_branches()[0], study_fronts()):
        device = study.devices[0]
        written = export_candidate(device.front[0], device, tmp_path / "stored.onnx", tmp_path / "out.onnx", study)
        made.append(json.loads(written.card.read_text())["made"].get("dropped_branches"))
    assert made == [list(DROPPED), None]


def test_an_inspection_lists_every_branch_with_what_it_holds() -> None:
    analysis = analyse(onnx.load(EXAMPLE))
    branches = json.loads(inspect_json(analysis))["branches"]
    assert [branch["name"] for branch in branches] == [f"/block{number}/Add" for number in (1, 2, 3, 4)]
    assert branches[0]["layers"] == ["/block1/conv1/conv/Conv", "/block1/conv2/conv/Conv"]
    assert branches[0]["groups"] == ["/block1/conv1/conv/Conv"]
    assert branches[0]["share_of_macs"] == branches[0]["macs"] / analysis.macs
    table = shown(*inspect_table(analysis))
    assert "branches that a search may leave out" in table
    assert all(branch["name"] in table for branch in branches)
