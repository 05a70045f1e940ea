"""A device whose runtime is LiteRT: everything a user does with it, really measured on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgepareto.host.export import read_model
from fakes.models import save
from onnx import helper

LITE = """
[devices.lite]
local = true
runtime = "litert"
shared = true
step = 2

[devices.virtual]
simulate = "raspberry-pi-4b"
runtime = "litert"

[devices.nano]
simulate = "jetson-nano"
runtime = "litert"
"""
SEARCH = ("search", "--devices", "lite", "--measurements", "4", "--population", "4")


@pytest.fixture(autouse=True)
def with_lite(project: Path) -> None:
    settings = project / "edgepareto.toml"
    settings.write_text(settings.read_text() + LITE)


def test_a_search_measures_tflite_files_and_export_writes_one(host, project: Path):
    assert host(*SEARCH).code == 0
    front = json.loads(host("front", "--format", "json").out)["devices"][0]
    assert {point["runtime"] for point in front["front"]} == {"litert"}
    exported = host("export", "--device", "lite", "--pick", "fastest", "-o", "small.tflite")
    assert exported.code == 0, exported.err
    assert (project / "small.tflite").read_bytes()[4:8] == b"TFL3"
    card = json.loads((project / "small.tflite.json").read_text())
    assert card["runtime"] == "litert"
    assert any(
        runtime.startswith("litert ") and runtime.endswith("XNNPACK") for runtime in card["conditions"]["runtimes"]
    )
    models = project / "study" / "models"
    for file in models.glob("*.tflite*"):
        file.unlink()
    assert "is gone; search again with --resume" in host("export", "--device", "lite", "-o", "small.tflite").err
    assert host(*SEARCH, "--resume").code == 0
    assert host("export", "--device", "lite", "-o", "small.tflite").code == 0


def test_runtime_precision_and_threads_are_searched_as_flags_or_settings_say(host, project: Path):
    settings = project / "edgepareto.toml"
    settings.write_text(settings.read_text() + '[devices.four]\nsimulate = "raspberry-pi-4b"\nstep = 2\n')
    # The labels are noise, so it is luck which runtime is on the front: with this algorithm both are.
    words = ("search", "--devices", "four", "--measurements", "10", "--population", "4", "--algorithm", "nsga2")
    found = host(*words, "--runtimes", "all", "--precisions", "all", "--threads", "1,4", "--clock-modes", "1800MHz")
    assert found.code == 0, found.err
    assert "four: no int8 in onnxruntime: the simulated raspberry-pi-4b has no figures of it" in found.err
    assert "run as" in found.out
    (device,) = json.loads(host("front", "--format", "json").out)["devices"]
    assert {point["threads"] for point in (device["dense"], *device["front"])} <= {1, 4}
    assert device["dense"]["clock_mode"] == "1800MHz"
    lite = next(point for point in device["front"] if point["runtime"] == "litert")
    assert host("front", "--format", "csv").out.count("litert") >= 1
    wrong = host("export", "--device", "four", "--pick", lite["candidate"], "-o", "small.onnx")
    assert (wrong.code, wrong.out) == (2, "")
    assert "its file is a .tflite; name it small.tflite" in wrong.err
    assert host("export", "--device", "four", "--pick", lite["candidate"], "-o", "small.tflite").code == 0
    card = json.loads((project / "small.tflite.json").read_text())
    assert [card[name] for name in ("runtime", "precision", "threads", "clock_mode")] == [
        lite[name] for name in ("runtime", "precision", "threads", "clock_mode")
    ]
    other = host(*words, "--runtimes", "all", "--precisions", "fp32", "--threads", "1,4", "--resume")
    assert other.code == 2
    assert "precisions: all, fp32" in other.err
    settings.write_text(settings.read_text().replace("[search]", '[search]\nthreads = [1, "many"]', 1))
    told = host(*words, "--study", "elsewhere")
    assert told.code == 2
    assert "threads = " in told.err
    assert 'must be "all" or numbers of threads, 1 or more, as in 1,2,4' in told.err
    assert not (project / "elsewhere").exists()


def test_what_litert_cannot_express_is_refused_before_a_study_begins(host, project: Path):
    model = read_model(project / "net.onnx")
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Hardmax", [last], ["hardest"]))
    model.graph.output[0].name = "hardest"
    save(model, project / "net.onnx")
    for words in (SEARCH, ("profile", "net.onnx", "--devices", "lite")):
        result = host(*words)
        assert (result.code, result.out) == (2, "")
        assert "net.onnx: LiteRT cannot express Hardmax; run it with ONNX Runtime" in result.err
    assert not (project / "study").exists()


def test_a_simulated_board_takes_tflite_files_by_figures_of_their_own(host, project: Path):
    """Those of ONNX Runtime on the same board are slower, with four threads of a Pi 5."""
    settings = project / "edgepareto.toml"
    pi5 = '\n[devices.{}]\nsimulate = "raspberry-pi-5"\nruntime = "{}"\nthreads = 4\n'
    settings.write_text(settings.read_text() + pi5.format("inlite", "litert") + pi5.format("inonnx", "onnxruntime"))
    result = host("profile", "net.onnx", "--devices", "inlite,inonnx", "--json")
    assert result.code == 0, result.err
    in_lite, in_onnx = json.loads(result.out)["results"]
    assert (in_lite["simulated"], in_lite["status"]) == (True, "OK")
    assert in_lite["latency_s"] != pytest.approx(in_onnx["latency_s"], rel=0.05)


def test_a_device_without_the_runtime_is_told_in_a_line(host, project: Path):
    result = host("profile", "net.onnx", "--devices", "nano")
    assert result.code == 2
    assert (
        "nano: a simulated jetson-nano has no runtime litert (it has onnxruntime); choose one of its own under "
        "[devices.nano]" in result.err
    )


def test_the_time_of_single_operators_is_not_to_be_had(host, project: Path):
    result = host("profile", "net.onnx", "--devices", "lite", "--ops")
    assert (result.code, result.out) == (2, "")
    assert "--ops: LiteRT does not tell the time of single operators; leave out lite" in result.err
