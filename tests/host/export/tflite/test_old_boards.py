"""Our files where tflite-runtime 2.14 is all there is: its older kernels and XNNPACK take them, and give the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.host.export.parity import Feed, lite_outputs, onnx_outputs
from edgepareto.host.export.quantize import Method, quantize_lite
from edgepareto.host.export.tflite import LiteModel, to_tflite
from fakes.old_board import ABSENT, OldBoardRuntime, can_be_made, programs_of_old_board

from tests.host.export.tflite.test_converted_models import EXAMPLES, EXPRESSED, ROUNDING, closed, feed_of
from tests.host.export.tflite.test_operators import CASES, Case, feeds_for, model_of

pytestmark = pytest.mark.skipif(not can_be_made(), reason=ABSENT)
ONE_STEP_IN_EACH_LAYER = 0.05  # by which integer kernels differ where they round otherwise


@pytest.fixture(scope="module")
def old_board() -> Iterator[OldBoardRuntime]:
    options = RuntimeOptions(name="litert", threads=1, provider="XNNPACK")
    with closing(OldBoardRuntime(options, programs_of_old_board())) as runtime:
        yield runtime


@pytest.mark.parametrize("path", EXPRESSED, ids=lambda path: path.stem)
def test_what_exporters_write_gives_there_what_onnx_runtime_gives(
    path: Path, old_board: OldBoardRuntime, tmp_path: Path
):
    model = closed(onnx.load(path))
    feed = feed_of(model, 0)
    [expected] = onnx_outputs(model.SerializeToString(), [feed])
    assert relative_error(old_board, to_tflite(model), feed, expected, tmp_path) <= ROUNDING


@pytest.mark.parametrize("given", CASES, ids=str)
def test_no_operator_is_too_new_for_it(given: Case, old_board: OldBoardRuntime, tmp_path: Path):
    model, feed = model_of(given), feeds_for(given, 0)
    [expected] = onnx_outputs(model.SerializeToString(), [feed])
    assert relative_error(old_board, to_tflite(model), feed, expected, tmp_path) <= ROUNDING


@pytest.mark.parametrize("name", ["mobilenet", "resnet"])
def test_the_examples_run_there_in_static_int8(name: str, old_board: OldBoardRuntime, tmp_path: Path):
    """It has no division of 8-bit integers, with which both normalise their images."""
    folder = EXAMPLES / "fashion_mnist"
    with np.load(folder / "calibration.npz") as calibration:
        feeds = [{"x": image[None].astype(np.float32)} for image in calibration["x"][:16]]
    lite = to_tflite(closed(onnx.load(folder / f"{name}.onnx")))
    quantised = quantize_lite(lite, feeds, method=Method.STATIC, name=name)
    [expected] = lite_outputs(quantised, feeds[:1])
    assert relative_error(old_board, quantised, feeds[0], expected, tmp_path) <= ONE_STEP_IN_EACH_LAYER


def relative_error(old_board: OldBoardRuntime, lite: LiteModel, feed: Feed, expected: Feed, folder: Path) -> float:
    """Of the worst output."""
    file = folder / "model.tflite"
    file.write_bytes(lite.content)
    old_board.load(file)
    seen = old_board.outputs({name: lite.input_of(name, feed[name]) for name in lite.inputs})
    return max(
        float(
            np.abs(lite.output_of(name, seen[name]).astype(np.float64) - wanted).max() / max(np.abs(wanted).max(), 1e-6)
        )
        for name, wanted in expected.items()
    )
