from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest


def searched(host) -> dict[str, object]:
    assert host("search", "--devices", "pi1", "--measurements", "5", "--population", "4").code == 0
    return json.loads(host("front", "--device", "pi1", "--format", "json").out)["devices"][0]


def test_a_candidate_is_distilled_into_a_file_and_its_card_and_the_study_stays(host, project: Path):
    pytest.importorskip("torch")
    with np.load("validation.npz") as loaded:
        np.savez("test.npz", **loaded)
    settings = project / "edgepareto.toml"
    settings.write_text(settings.read_text().replace("[search]", 'test = "test.npz"\n[search]'))
    device = searched(host)
    dense = device["dense"]["candidate"]
    chosen = next(point for point in device["front"] if point["candidate"] != dense)
    study = (project / "study" / "study.sqlite").read_bytes()
    result = host("distil", chosen["candidate"][:8], "-o", "small.onnx", "--steps", "20", "--json")
    assert result.code == 0, result.err
    card = json.loads(result.out)
    assert card == json.loads((project / "small.onnx.json").read_text())
    assert (card["candidate"], card["made"]["steps"], card["taught"]) == (chosen["candidate"], 20, 64)
    assert card["before"]["accuracy"] == chosen["accuracy"]
    assert card["before"]["test_accuracy"] == chosen["test_accuracy"]
    assert card["after"]["loss"] <= card["before"]["loss"] or not card["helped"]
    stored = onnx.load(project / "study" / chosen["file"])
    written = onnx.load("small.onnx")
    onnx.checker.check_model(written)
    assert written.graph.node == stored.graph.node
    assert (written == stored) != card["helped"]
    assert (project / "study" / "study.sqlite").read_bytes() == study
    text = host("distil", chosen["candidate"], "-o", "again.onnx", "--steps", "20")
    assert "top-1 accuracy on test:" in text.out
    assert Path("again.onnx").read_bytes() == Path("small.onnx").read_bytes()

    for words, said in (
        (("zzz",), "zzz is no candidate that was made"),
        ((dense,), "is the unpruned model"),
        ((chosen["candidate"], "--steps", "0"), "--steps 0: must be 1 or more"),
        ((chosen["candidate"], "--learning-rate", "0"), "--learning-rate 0: must be more than 0"),
        ((chosen["candidate"], "--labels", "1"), "calibration.npz: no key y"),
        ((chosen["candidate"], "--study", "nowhere"), "nowhere: holds no study"),
        ((chosen["candidate"], "-o", "calibration.npz"), "calibration.npz: is"),
        ((chosen["candidate"], "-o", "small.tflite"), "distil writes .onnx files"),
    ):
        result = host("distil", "-o", "other.onnx", *words)
        assert (result.code, result.out) == (2, ""), words
        assert said in result.err
        assert result.err.strip().count("\n") == 0, result.err
    np.savez("calibration.npz", x=np.ones((64, 1, 6, 6), np.float32))
    assert (
        "is not the calibration data that the study was begun with"
        in host("distil", chosen["candidate"], "-o", "o").err
    )


def test_without_torch_the_extra_is_named_and_nothing_begins(host, project: Path, monkeypatch):
    monkeypatch.setattr("edgepareto.host.distil.settings.find_spec", lambda name: None)
    result = host("search", "--devices", "pi1", "--distil")
    assert (result.code, result.out) == (2, "")
    assert result.err.strip().endswith("not installed; pip install 'edgepareto[host,distil]'")
    assert result.err.strip().count("\n") == 0
    assert not (project / "study").exists()
    searched(host)
    assert "pip install 'edgepareto[host,distil]'" in host("distil", "0", "-o", "small.onnx").err
