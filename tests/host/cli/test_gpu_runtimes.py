"""Devices whose runtime is ONNX Runtime on a GPU, as a user meets them; what runs there is simulated."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

WITHOUT_CUDA = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this machine's ONNX Runtime has CUDA"
)
DEVICES = """
[devices.orin]
simulate = "jetson-orin-nano"
runtime = "onnxruntime-tensorrt"

[devices.cores]
simulate = "jetson-orin-nano"

[devices.pi]
simulate = "raspberry-pi-4b"
runtime = "onnxruntime-tensorrt"

[devices.here]
local = true
runtime = "onnxruntime-cuda"
"""


@pytest.fixture(autouse=True)
def with_gpus(project: Path) -> None:
    settings = project / "edgepareto.toml"
    settings.write_text(settings.read_text() + DEVICES)


def test_a_model_is_measured_by_tensorrt_beside_the_same_board_without_it(host):
    result = host("profile", "net.onnx", "--devices", "orin,cores", "--json")
    assert result.code == 0, result.err
    orin, cores = json.loads(result.out)["results"]
    assert (orin["status"], cores["status"]) == ("OK", "OK")
    assert (orin["runtime"], orin["provider"]) == ("onnxruntime", "TensorrtExecutionProvider")
    assert cores["provider"] == "CPUExecutionProvider"
    assert "build_s" not in orin  # a simulated board makes no engine


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("pi", "pi: a simulated raspberry-pi-4b has no runtime onnxruntime-tensorrt"),
        pytest.param("here", "here: runtime onnxruntime-cuda: its onnxruntime ", marks=WITHOUT_CUDA),
    ],
)
def test_a_device_without_the_gpu_is_told_in_a_line(host, device: str, told: str):
    result = host("profile", "net.onnx", "--devices", device)
    assert (result.code, result.out) == (2, "")
    assert told in result.err


def test_the_time_of_single_operators_is_not_to_be_had_on_a_gpu(host):
    result = host("profile", "net.onnx", "--devices", "orin", "--ops")
    assert (result.code, result.out) == (2, "")
    assert "--ops: onnxruntime-tensorrt does not tell the time of single operators; leave out orin" in result.err
