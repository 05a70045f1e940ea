"""Which library LiteRT is here, where the contract's suite does not see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime import RuntimeOptions, litert_runtime, open_runtime

LITERT = RuntimeOptions(name="litert", threads=1, provider="XNNPACK")


@pytest.fixture
def only_the_old_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime" / "interpreter.py").touch()
    described = tmp_path / "tflite_runtime-2.14.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Name: tflite-runtime\nVersion: 2.14.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(litert_runtime, "LIBRARIES", {"tflite-runtime": "tflite_runtime.interpreter"})


def test_the_old_library_beside_a_numpy_that_breaks_it_is_refused_with_the_way_out(
    only_the_old_library: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(np, "__version__", "1.26.4")
    open_runtime(LITERT, board=None, job="c/search/0")
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(WorkerError, match=r"numpy 2\.4\.6 .* install edgepareto\[agent-tflite-legacy\]") as caught:
        open_runtime(LITERT, board=None, job="c/search/0")
    assert caught.value.status is Status.LOAD_FAILED
