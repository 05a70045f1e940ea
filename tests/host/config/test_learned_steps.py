"""Learned steps on disk: what was written is read, what is broken says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.host.config import read_learned_steps, steps_file, write_learned_steps
from edgepareto.host.domain import DeviceName
from edgepareto.host.domain.learned_steps import KernelKind, KindProbe, LearnedSteps
from edgepareto.host.domain.staircase import Staircase
from edgepareto.host.errors import ConfigError

STEPS = LearnedSteps(
    device=DeviceName("127.0.0.1:50051"),
    board="Raspberry Pi 4 Model B",
    board_id="abc",
    simulated=False,
    runtime="onnxruntime",
    runtime_version="1.23.0",
    threads=4,
    preset="quick",
    measured_at="2026-11-28T12:00:00+00:00",
    probes=(
        KindProbe(
            kind=KernelKind.CONV_3X3,
            staircase=Staircase(step=8, jump=0.2, noise=0.007, rivals=()),
            widths=(8, 9, 32),
            latencies_s=(1e-3, 2e-3, 4e-3),
        ),
        KindProbe(
            kind=KernelKind.DEPTHWISE,
            staircase=Staircase(step=4, jump=0.1, noise=0.05, rivals=(2, 8)),
            widths=(8,),
            latencies_s=(1e-3,),
        ),
    ),
)


def test_what_is_written_is_read_again_and_a_later_probe_replaces_it(tmp_path: Path) -> None:
    assert read_learned_steps(tmp_path, STEPS.device) is None
    file = write_learned_steps(STEPS, tmp_path)
    assert file == steps_file(tmp_path, STEPS.device)
    assert file.parent == tmp_path / ".edgepareto" / "steps"
    assert read_learned_steps(tmp_path, STEPS.device) == STEPS
    write_learned_steps(replace(STEPS, threads=1), tmp_path)
    assert read_learned_steps(tmp_path, STEPS.device) == replace(STEPS, threads=1)
    assert list(file.parent.iterdir()) == [file]


def test_only_sure_steps_are_relied_on() -> None:
    assert STEPS.sure == {KernelKind.CONV_3X3: 8}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2}',
        '{"schema": 1}',
        '{"schema": 1, "device": "a", "probes": [{"kind": "x"}]}',
        "\xff",
    ],
)
def test_a_file_that_is_no_probe_is_refused_with_what_to_do(content: str, tmp_path: Path) -> None:
    file = write_learned_steps(STEPS, tmp_path)
    file.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"cannot be read as learned steps.*delete it, or run host profile-steps"):
        read_learned_steps(tmp_path, STEPS.device)
