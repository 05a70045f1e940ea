"""Every example runs as it stands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "examples"
FASHION = EXAMPLES / "fashion_mnist"


def test_the_journey_from_python_ends_in_an_exported_model_faster_than_the_dense_one(tmp_path: Path):
    for name in ("mobilenet.onnx", "edgepareto.toml"):
        shutil.copy(FASHION / name, tmp_path)
    for name, rows in (("calibration", 128), ("validation", 300), ("test", 300)):
        with np.load(FASHION / f"{name}.npz") as data:
            np.savez(tmp_path / f"{name}.npz", **{key: data[key][:rows] for key in data.files})
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "search_from_python.py")], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for file in ("half.onnx", "python_study/knee.onnx", "python_study/knee.onnx.json", "python_study/fronts.png"):
        assert (tmp_path / file).is_file()
    dense, knee = (line for line in done.stdout.splitlines() if " ms on pi1 (simulated)" in line)
    assert float(knee.split(": ")[1].split()[0]) < float(dense.split(": ")[1].split()[0])
