"""A folder with a small model and data that fit it, and the real `main`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from edgepareto.host.__main__ import main
from fakes.models import convolution, save

SETTINGS = """\
model = "net.onnx"

[data]
calibration = "calibration.npz"
validation = "validation.npz"

[search]
measurements = 8
population = 4
preset = "quick"

[devices.pi1]
simulate = "raspberry-pi-4b"
step = 2

[devices.gone]
address = "127.0.0.1:9"
"""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Host = Callable[..., Result]


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    save(convolution(), tmp_path / "net.onnx")
    np.savez(tmp_path / "calibration.npz", x=random.random((64, 1, 6, 6), np.float32))
    np.savez(
        tmp_path / "validation.npz",
        x=random.random((60, 1, 6, 6), np.float32),
        y=random.integers(0, 3, 60),
    )
    (tmp_path / "edgepareto.toml").write_text(SETTINGS)
    return tmp_path


@pytest.fixture
def host(project: Path, capsys) -> Host:
    """Run `host WORDS` in the project."""

    def run(*words: str) -> Result:
        capsys.readouterr()
        code = main(words)
        captured = capsys.readouterr()
        return Result(code=code, out=captured.out, err=captured.err)

    return run
