"""Sums of 8-bit products, in ONNX Runtime on processors that are told of by files as /proc/cpuinfo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime import RuntimeOptions, exact_sums, open_runtime
from fakes.models import classifier

SETTING = "session.x64quantprecision"
WITH_VNNI = "processor : 0\nflags : sse avx2 avx512_vnni\n"
WITH_AVX_VNNI = "processor : 0\nflags : sse avx2 avx_vnni\n"
WITHOUT_VNNI = "processor : 0\nflags : sse avx2\n"
ARM = "processor : 0\nFeatures : fp asimd\n"
OPTIONS = RuntimeOptions(name="onnxruntime", threads=1, provider="CPUExecutionProvider")


@pytest.fixture
def on_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def tell(processor: str) -> None:
        (tmp_path / "cpuinfo").write_text(processor)
        monkeypatch.setattr(exact_sums, "PROCESSOR", tmp_path / "cpuinfo")

    return tell


@pytest.mark.parametrize(
    ("processor", "is_set"), [(WITH_VNNI, False), (WITH_AVX_VNNI, False), (WITHOUT_VNNI, True), (ARM, False)]
)
def test_they_are_made_exact_where_the_processor_cuts_them_off_and_it_is_told(
    processor: str, is_set: bool, on_processor: Callable[[str], None], tmp_path: Path
) -> None:
    on_processor(processor)
    model = tmp_path / "model.onnx"
    model.write_bytes(classifier(1).SerializeToString())
    runtime = open_runtime(OPTIONS, board=None, job="a/search/0")
    assert runtime.load(model).options.get(SETTING) == ("1" if is_set else None)
    feed = {"x": np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)}
    assert runtime.outputs(feed)["logits"].tolist() == [[0, 1, 2]]
    assert runtime.time_operators([feed, feed])


def test_a_file_that_is_no_model_gets_its_verdict_there_as_well(
    on_processor: Callable[[str], None], tmp_path: Path
) -> None:
    on_processor(WITHOUT_VNNI)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(WorkerError) as caught:
        open_runtime(OPTIONS, board=None, job="a/search/0").load(tmp_path / "model.onnx")
    assert caught.value.status is Status.INVALID_MODEL
