from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from edgepareto.host.pruning import inference
from fakes.models import classifier


def test_onnx_runtime_reports_to_nobody_and_leaves_nothing_in_the_users_home(tmp_path: Path):
    program = "import edgepareto.host.pruning.inference, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | home
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "1\n"
    assert list(tmp_path.rglob("*")) == []


SETTING = "session.x64quantprecision"
WITH_VNNI = "processor : 0\nflags : sse avx2 avx512_vnni\n"
WITHOUT_VNNI = "processor : 0\nflags : sse avx2\n"
ARM = "processor : 0\nFeatures : fp asimd\n"


@pytest.mark.parametrize(("processor", "exact"), [(WITH_VNNI, True), (WITHOUT_VNNI, False), (ARM, True), ("", True)])
def test_sums_of_8_bit_products_are_made_exact_where_the_processor_cuts_them_off(
    monkeypatch: pytest.MonkeyPatch, processor: str, exact: bool
):
    """That they are then the bits that VNNI gives was seen on an emulated processor, docs/int8.md."""
    monkeypatch.setattr(inference, "_processor", lambda: processor)
    assert inference.sums_are_exact(processor) is exact
    options = inference.open_session(classifier().SerializeToString()).get_session_options()
    with nullcontext() if not exact else pytest.raises(RuntimeError, match=SETTING):  # as onnxruntime says: not set
        assert options.get_session_config_entry(SETTING) == "1"
