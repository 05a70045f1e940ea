"""A search whose finalists get a second version each, on fake devices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgepareto.host.domain import StudyFronts
from edgepareto.host.errors import ConfigError, DataError, WrongUse
from edgepareto.host.export import export_candidate
from edgepareto.host.study import candidate_model, run_study
from edgepareto.host.study.inputs import load_inputs
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench


def run(bench: Bench, *, resume: bool = False, **search: object) -> StudyFronts:
    config = bench.but(**{"metric": "agreement", "measurements": 8, **search})
    return run_study(config, resume=resume, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1")))


def test_a_finished_study_goes_on_with_distilled_finalists_and_tells_both_versions(bench: Bench, tmp_path: Path):
    pytest.importorskip("torch")
    (before,) = run(bench).devices
    fronts = run(bench, resume=True, distil=True)
    (front,) = fronts.devices
    distilled = [point for point in (*front.front, *front.others) if point.candidate.recipe.is_distilled]
    assert distilled
    assert front.hypervolume >= before.hypervolume
    for point in distilled:
        twin = front.twin(point)
        assert twin is not None
        assert front.twin(twin) == point
        assert twin.candidate.recipe == point.candidate.recipe.undistilled
        assert point.candidate.divergence < twin.candidate.divergence
        assert (point.candidate.macs, point.candidate.bytes) == (twin.candidate.macs, twin.candidate.bytes)
    shown = next(point for point in distilled if point in front.front)
    assert front.twin(shown).candidate.test_accuracy is not None, "both are scored on the test split"
    assert any("front members are distilled" in note for note in front.notes)
    written = export_candidate(
        shown, front, candidate_model(bench.config.study, shown.candidate.id), tmp_path / "one.onnx", fronts
    )
    card = json.loads(written.card.read_text())
    assert (card["distil_steps"], card["made"]["distil_steps"]) == (200, 200)
    assert card["undistilled"]["candidate"] == front.twin(shown).candidate.id
    assert card["undistilled"]["divergence"] > card["divergence"]


def test_distilling_with_labels_needs_calibration_samples_that_have_them(bench: Bench):
    pytest.importorskip("torch")
    config = bench.but(distil=True, distil_labels=0.5)
    with pytest.raises(
        DataError, match=r"calibration\.npz: no key y; --distil-labels .* needs labels, .* distillation needs none"
    ):
        load_inputs(config)
    with np.load(str(config.data.calibration)) as loaded:
        x = loaded["x"]
    np.savez(str(config.data.calibration), x=x, y=np.zeros(len(x), np.int64))
    labelled = load_inputs(config).distilled_recipe
    assert labelled is not None
    assert labelled.distil_labels == 0.5
    assert load_inputs(replace(config, search=replace(config.search, distil=False))).distilled_recipe is None


@pytest.mark.parametrize("metric", ["agreement", "own:score"])
def test_labels_cannot_be_taught_where_the_metric_does_not_say_that_they_are_classes(bench: Bench, metric: str):
    (bench.config.folder / "own.py").write_text("def score(predict, dataset):\n    return 0.5\n")
    with pytest.raises(ConfigError, match=f"metric {metric}: labels can be taught .* drop --distil-labels"):
        load_inputs(bench.but(metric=metric, distil=True, distil_labels=0.5))


def test_without_torch_a_search_that_distils_is_refused_before_anything_begins(bench: Bench, monkeypatch):
    monkeypatch.setattr("edgepareto.host.distil.settings.find_spec", lambda name: None)
    with pytest.raises(WrongUse, match=r"torch, which is not installed; pip install 'edgepareto\[host,distil\]'"):
        run(bench, distil=True)
    assert not bench.config.study.exists()
