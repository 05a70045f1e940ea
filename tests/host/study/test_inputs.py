"""What a study starts from: its model, known by all of its weights, and its samples, with labels or without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from edgepareto.host.errors import ConfigError, DataError
from edgepareto.host.study.inputs import load_inputs

if TYPE_CHECKING:
    from conftest import Bench


def test_a_model_is_known_by_its_weights_also_by_those_in_other_files(bench: Bench) -> None:
    apart = replace(bench.config, model=bench.config.folder / "apart.onnx")
    model = onnx.load(bench.config.model)
    onnx.save(model, apart.model, save_as_external_data=True, location="apart.bin", size_threshold=0)
    before = load_inputs(apart).model_sha256
    assert load_inputs(apart).model_sha256 == before

    weights = apart.model.with_name("apart.bin")
    weights.write_bytes(bytes(weights.stat().st_size))
    assert load_inputs(apart).model_sha256 != before


def test_repair_takes_as_many_calibration_samples_as_is_set_or_all_where_there_are_fewer(bench: Bench) -> None:
    of_40 = load_inputs(bench.config)
    assert (of_40.search_recipe.images, of_40.finalist_recipe.images) == (40, 40)
    fewer = load_inputs(bench.but(search_images=8, finalist_images=20))
    assert (fewer.search_recipe.images, fewer.finalist_recipe.images) == (8, 20)
    older = load_inputs(bench.but(search_images=8, finalist_images=None))
    assert (older.search_recipe.images, older.finalist_recipe.images) == (8, 40)


def test_labels_make_no_difference_to_agreement_and_need_not_be_there(bench: Bench) -> None:
    with_labels = load_inputs(bench.but(metric="agreement"))
    strip_labels(bench)
    without = load_inputs(bench.but(metric="agreement"))
    assert (without.validation_sha256, without.test_sha256) == (with_labels.validation_sha256, with_labels.test_sha256)
    with pytest.raises(DataError, match="scoring needs labels, it has x; --metric agreement needs none"):
        load_inputs(bench.config)


def test_a_search_without_labels_and_validation_data_scores_on_what_repair_leaves_over(bench: Bench) -> None:
    data = replace(bench.config.data, calibration=bench.config.data.validation, validation=None)
    inputs = load_inputs(replace(bench.but(metric="agreement", search_images=100), data=data))
    assert (inputs.search_recipe.images, inputs.finalist_recipe.images) == (100, 100)
    assert inputs.remarks == (
        "no validation data is named: candidates are scored on the 200 calibration samples that do not repair them, "
        "the finalists too are repaired with 100",
    )
    repairs, scored = inputs.calibration.apart(100)
    assert scored.sha256 == inputs.validation_sha256
    both = np.concatenate([repairs.inputs["x"], scored.inputs["x"]])
    assert len(np.unique(both.reshape(300, -1), axis=0)) == 300
    with pytest.raises(
        ConfigError, match=r"labels are not needed \(of the 300 calibration samples recovery leaves 199"
    ):
        load_inputs(replace(bench.but(metric="agreement", search_images=101), data=data))
    with pytest.raises(ConfigError, match=r"no validation samples: .* with labels"):
        load_inputs(replace(bench.config, data=data))


def strip_labels(bench: Bench) -> None:
    for name in ("validation", "test"):
        with np.load(bench.config.folder / f"{name}.npz") as stored:
            x = stored["x"]
        np.savez(bench.config.folder / f"{name}.npz", x=x)
