"""What makes a study's model that model: all of its weights, wherever they lie."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import onnx
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
