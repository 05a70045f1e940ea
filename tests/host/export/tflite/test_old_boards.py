"""Our files where tflite-runtime 2.14 is all there is: its older kernels and XNNPACK take them, and give the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.host.export.parity import onnx_outputs
from edgepareto.host.export.tflite import to_tflite
from fakes.old_board import ABSENT, OldBoardRuntime, can_be_made, programs_of_old_board

from tests.host.export.tflite.test_converted_models import EXPRESSED, ROUNDING, closed, feed_of

pytestmark = pytest.mark.skipif(not can_be_made(), reason=ABSENT)


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
    lite = to_tflite(model)
    file = tmp_path / "model.tflite"
    file.write_bytes(lite.content)
    assert old_board.load(file).provider == "XNNPACK"
    seen = old_board.outputs({name: lite.input_of(name, feed[name]) for name in lite.inputs})
    for name, wanted in expected.items():
        apart = np.abs(lite.output_of(name, seen[name]) - wanted)
        assert apart.max() <= ROUNDING * np.abs(wanted).max()
