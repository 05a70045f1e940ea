"""A model larger than the free memory, a hundredth of 500 MB on 200 MB: refused, and the others are measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.api import profile
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import Status
from fakes.models import classifier, save

DEADLINE_S = 30
FREE_KB = 2_000
UNUSED_WEIGHTS = 1_250_000  # of four bytes


@pytest.fixture
def device(tmp_path: Path) -> Iterator[DeviceConfig]:
    """A real agent that reads 2 MB of free memory where a board keeps it."""
    root = tmp_path / "root"
    (root / "proc").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text(f"MemTotal: 4000 kB\nMemAvailable: {FREE_KB} kB\n")
    config = tmp_path / "agent.toml"
    config.write_text(f'sys_root = "{root}"\nshared = true\n')
    command = [sys.executable, "-m", "edgepareto.agent", "--config", str(config), "--state", str(tmp_path / "state")]
    process = subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield DeviceConfig(name="pi1", address=json.loads(process.stdout.readline())["listening"])
    process.terminate()
    process.communicate(timeout=DEADLINE_S)


def test_a_model_larger_than_the_free_memory_is_refused_in_one_line_and_the_others_are_measured(
    device: DeviceConfig, tmp_path: Path
):
    small = save(classifier(), tmp_path / "small.onnx")
    model = classifier()
    weights = np.random.default_rng(0).standard_normal(UNUSED_WEIGHTS).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "unused"))
    large = save(model, tmp_path / "large.onnx")
    measured, refused = profile([small, large], devices=[device], preset="quick")
    assert (measured.job.status, measured.job.usable) == (Status.OK, True)
    assert refused.job.status is Status.OOM
    assert refused.job.message.startswith("the model's file holds 5 MB and the board has 2 MB of memory free")
