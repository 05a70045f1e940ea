"""The user's own line, from the command to two fronts, on simulated boards and real processes."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.stored_studies import committed_batches, everything_measured

if TYPE_CHECKING:
    from conftest import Project


def fronts(project: Project) -> dict:
    return json.loads(project.host("front", "--format", "json").stdout)


def test_a_search_ends_in_one_front_per_device_and_its_exported_model_keeps_its_accuracy(project: Project):
    search = project.host("search", "--devices", "pi1,jetson2")
    assert "simulated" in search.stdout

    report = fronts(project)
    assert [device["name"] for device in report["devices"]] == ["pi1", "jetson2"]
    for device in report["devices"]:
        assert device["simulated"] is True
        assert device["complete"] is True
        assert device["measured"] == 14
        assert sum(point.get("knee", False) for point in device["front"]) == 1
        assert min(p["latency_s"] for p in device["front"]) < device["dense"]["latency_s"]
        for point in [device["dense"], *device["front"]]:
            assert {"accuracy", "test_accuracy", "latency_s", "energy_j", "preset"} <= set(point)
            assert point["latency_low_s"] <= point["latency_s"] <= point["latency_high_s"]

    # Pictures and an export, as a user would ask for them.
    project.host("front", "--html", "fronts.html", "--png", "fronts.png")
    assert (project.folder / "fronts.png").read_bytes().startswith(b"\x89PNG")
    page = (project.folder / "fronts.html").read_text()
    assert "pi1" in page
    assert "jetson2" in page
    assert "simulated" in page
    project.host("export", "--device", "pi1", "--pick", "fastest", "-o", "fast.onnx")
    card = json.loads((project.folder / "fast.onnx.json").read_text())
    assert card["simulated"] is True

    # A fresh process, knowing nothing of us, gets the same accuracy from the exported file.
    fresh = subprocess.run(
        [sys.executable, "-c", FRESH_SCORE], cwd=project.folder, capture_output=True, text=True, check=True
    )
    fastest = min(report["devices"][0]["front"], key=lambda point: point["latency_s"])
    assert float(fresh.stdout) == fastest["test_accuracy"]

    # Asked again without --resume nothing is lost; with it a finished study only prints.
    again = project.host("search", "--devices", "pi1,jetson2", code=2)
    assert "--resume" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1
    project.host("search", "--devices", "pi1,jetson2", "--resume")
    assert fronts(project) == report


def test_a_search_without_any_labels_says_agreement_wherever_it_shows_a_score(project: Project):
    for name in ("validation", "test"):
        with np.load(project.folder / f"{name}.npz") as stored:
            x = stored["x"]
        np.savez(project.folder / f"{name}.npz", x=x)
    labels = project.host("search", "--devices", "pi1", code=2)
    assert labels.stderr.strip().endswith("no key y; scoring needs labels, it has x; --metric agreement needs none")

    words = ("--metric", "agreement", "--measurements", "8", "--search-images", "32", "--min-accuracy", "0.2")
    search = project.host("search", "--devices", "pi1", *words)
    assert "agreement" in search.stdout
    assert "accuracy" not in search.stdout + search.stderr
    report = fronts(project)
    assert report["metric"] == "agreement"
    (device,) = report["devices"]
    assert (device["dense"]["accuracy"], device["dense"]["test_accuracy"], device["dense"]["divergence"]) == (1, 1, 0)
    for point in device["front"]:
        assert 0.2 <= point["accuracy"] <= 1
        assert point["divergence"] >= 0
    project.host("front", "--html", "fronts.html")
    assert "agreement with the unpruned model" in (project.folder / "fronts.html").read_text()
    project.host("export", "--device", "pi1", "--pick", "fastest", "-o", "fast.onnx")
    card = json.loads((project.folder / "fast.onnx.json").read_text())
    assert card["metric"] == "agreement"
    assert card["divergence"] > 0
    changed = project.host("search", "--devices", "pi1", "--resume", "--search-images", "16", code=2)
    assert "search_images: 32, 16" in changed.stderr


FRESH_SCORE = """
import numpy, onnxruntime
data = numpy.load("test.npz")
session = onnxruntime.InferenceSession("fast.onnx", providers=["CPUExecutionProvider"])
x = (data["x"] * numpy.float32(1 / 255)).astype(numpy.float32)
print(float((session.run(None, {session.get_inputs()[0].name: x})[0].argmax(1) == data["y"]).mean()))
"""


@pytest.mark.parametrize(
    ("how", "moments"),
    [(signal.SIGKILL, (0, 1 / 3, 2 / 3)), (signal.SIGINT, (1 / 2,))],
    ids=["killed three times", "interrupted"],
)
def test_a_search_ended_at_any_moment_resumes_to_the_same_measurements_and_front(
    project: Project, whole: Path, how, moments
):
    words = ("search", "--devices", "pi1,jetson2", "--quiet")
    study = project.folder / "broken"
    total = committed_batches(whole)
    for share in moments:
        resume = ("--resume",) if (study / "study.sqlite").exists() else ()
        reached = math.floor(share * total)
        code = project.killed(
            *words, "--study", "broken", *resume, when=lambda n=reached: committed_batches(study) > n, with_signal=how
        )
        assert code == (130 if how is signal.SIGINT else -signal.SIGKILL)
    project.host(*words, "--study", "broken", "--resume")

    def told(study: Path) -> list[dict]:
        return json.loads(project.host("front", "--study", str(study), "--format", "json").stdout)["devices"]

    assert everything_measured(study) == everything_measured(whole)
    assert told(study) == told(whole)


def test_no_process_of_ours_outlives_a_killed_host(project: Project):
    study = project.folder / "study"
    project.killed("search", "--devices", "pi1,jetson2", when=lambda: committed_batches(study) > 0)
    here = os.fsencode(str(project.folder))

    def alive() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if here in command and b"edgepareto" in command:
                    found.append(command.replace(b"\0", b" ").decode())
        return found

    deadline = time.monotonic() + 15
    while alive():
        assert time.monotonic() < deadline, alive()
        time.sleep(0.05)
