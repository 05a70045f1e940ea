from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from edgepareto.host.pruning.inference import open_session
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


def test_integers_are_exact_on_an_x86_without_vnni_as_well():
    """Nothing else can be asked of a processor that has it; docs/int8.md has what an emulated one gave."""
    options = open_session(classifier().SerializeToString()).get_session_options()
    assert options.get_session_config_entry("session.x64quantprecision") == "1"
