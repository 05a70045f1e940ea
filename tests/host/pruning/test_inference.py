from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_onnx_runtime_reports_to_nobody_and_leaves_nothing_in_the_users_home(tmp_path: Path):
    program = "import edgepareto.host.pruning.inference, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | home
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "1\n"
    assert list(tmp_path.rglob("*")) == []
