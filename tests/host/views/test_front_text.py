"""The stable interfaces of `host front`: JSON and CSV, as command-line documents promise them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from edgepareto.host.domain import Sparing, StudyFronts
from edgepareto.host.views import front_csv, front_json
from edgepareto.host.views.figures import sparing_text
from edgepareto.host.views.table import front_tables
from fakes.fronts import run_in_many_ways, study_fronts
from rich.console import Console

DEVICE = {
    "name",
    "board",
    "simulated",
    "complete",
    "measured",
    "hypervolume",
    "repeatability",
    "shrinkage",
    "dense",
    "front",
}
POINT = {
    "candidate", "accuracy", "latency_s", "latency_low_s", "latency_high_s", "macs", "parameters", "bytes", "runtime",
    "precision", "threads", "knee", "simulated", "file", "preset", "reproducible",
}  # fmt: skip
ENERGY = {
    "energy_j", "energy_low_j", "energy_high_j", "energy_systematic_j",
    "dynamic_energy_j", "dynamic_energy_low_j", "dynamic_energy_high_j",
}  # fmt: skip
DIFFERENCE = {"accuracy_difference", "accuracy_difference_low", "accuracy_difference_high"}


def file_of(candidate: str) -> str:
    return f"models/{candidate}.onnx"


@pytest.mark.parametrize("test_split", [True, False])
def test_the_json_has_exactly_the_promised_names_and_what_is_unknown_is_absent(test_split: bool):
    report = json.loads(front_json(study_fronts(has_test_split=test_split), file_of))
    assert report["schema"] == 1
    assert {"study", "model", "devices"} <= set(report)
    names = POINT | ({"test_accuracy"} if test_split else set())
    for device, metered in zip(report["devices"], (True, False), strict=True):
        assert set(device) == DEVICE | ({"shrinkage_energy", "energy_objective"} if metered else set())
        assert set(device["repeatability"]) == {"reproducible", "anchor_jobs", "latency", "energy"}
        dense = device["dense"]["candidate"]
        for point in [device["dense"], *device["front"]]:
            differences = DIFFERENCE | ({f"test_{name}" for name in DIFFERENCE} if test_split else set())
            of_others = set() if point["candidate"] == dense else differences
            assert set(point) == names | of_others | (ENERGY if metered else set())
            assert None not in point.values()
        assert sum(point["knee"] for point in device["front"]) == 1
        assert device["front"][0]["file"] == file_of(device["front"][0]["candidate"])


def test_a_distilled_member_has_its_steps_in_json_and_csv():
    study = study_fronts()
    first = study.devices[0]
    point = first.front[0]
    taught = replace(point.candidate, recipe=replace(point.candidate.recipe, distil_steps=200))
    front = (replace(point, candidate=taught), *first.front[1:])
    study = replace(study, devices=(replace(first, front=front),))
    assert json.loads(front_json(study, file_of))["devices"][0]["front"][0]["distil_steps"] == 200
    rows = list(csv.DictReader(io.StringIO(front_csv(study, file_of))))
    assert [row["distil_steps"] for row in rows].count("200") == 1


def test_what_was_not_measured_is_told_by_its_reasons_and_with_what_checking_it_found():
    everything = Sparing(below=27, candidates=16, audited=3, on_front=0)
    assert sparing_text(everything) == (
        "scored and not measured: 27 below the minimum, 16 that even at their best would not be on the front; "
        "3 more like these measured to check: 0 are on the front"
    )
    assert sparing_text(replace(everything, candidates=0, audited=0)).endswith("measured: 27 below the minimum")
    study = study_fronts()
    study = replace(study, devices=(replace(study.devices[0], sparing=everything),))
    console = Console(width=300, record=True, file=io.StringIO())
    for part in front_tables(study, width=300):
        console.print(part)
    assert sparing_text(everything) in console.export_text()


def test_the_json_says_how_many_were_spared_and_how_many_audits_proved_that_wrong():
    study = study_fronts()
    first = replace(study.devices[0], sparing=Sparing(below=3, candidates=14, audited=2, on_front=1))
    report = json.loads(front_json(replace(study, devices=(first, *study.devices[1:])), file_of))
    told = {"spared": 14, "below_minimum": 3, "audited": 2, "audited_on_front": 1}
    assert {name: report["devices"][0][name] for name in told} == told
    assert not set(told) & set(report["devices"][1])


def test_the_json_of_an_incomplete_device_says_why():
    pi1, bench = json.loads(front_json(study_fronts(complete=False), file_of))["devices"]
    assert pi1["complete"] is False
    assert pi1["incomplete_reason"] == "the board stopped answering after 41 measurements"
    assert bench["complete"] is True


@pytest.mark.parametrize("study", [study_fronts(), run_in_many_ways(study_fronts())], ids=["as set", "many ways"])
def test_the_csv_has_a_row_per_front_point_and_dense_model_and_tells_the_same_numbers(study: StudyFronts):
    rows = list(csv.DictReader(io.StringIO(front_csv(study, file_of))))
    report = json.loads(front_json(study, file_of))
    for device in report["devices"]:
        mine = [row for row in rows if row["device"] == device["name"]]
        assert [row["candidate"] for row in mine if row["on_front"] == "true"] == [
            p["candidate"] for p in device["front"]
        ]
        assert [row["candidate"] for row in mine if row["is_dense"] == "true"] == [device["dense"]["candidate"]]
        by_id = {row["candidate"]: row for row in mine}
        for point in device["front"]:
            for name, value in point.items():
                told = by_id[point["candidate"]][name]
                assert told == (str(value).lower() if isinstance(value, bool) else str(value))
    assert {row["energy_j"] for row in rows if row["device"] == "bench"} == {""}
