"""What a simulated board has figures of is all that a search may ask it for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from edgepareto.host.config import DeviceConfig, SearchConfig
from edgepareto.host.domain import DeviceInfo, RuntimeVersion, StudyNotice
from edgepareto.host.errors import WrongUse
from edgepareto.host.study.offered_deployments import offered_deployments
from fakes.fake_fleet import FakeDevice

PI = DeviceConfig(name="pi1", simulate="raspberry-pi-zero-2w")
MODEL = onnx.load(Path(__file__).parents[2] / "models" / "resnet_basic.dynamo.onnx")
SAMPLES = 512


@pytest.fixture
def zero() -> DeviceInfo:
    runtimes = (
        RuntimeVersion(
            name="onnxruntime",
            version="1",
            providers=("CPUExecutionProvider",),
            figures={"CPUExecutionProvider": ("fp32",)},
        ),
        RuntimeVersion(name="litert", version="2.3.0", providers=("XNNPACK",), figures={"XNNPACK": ("fp32", "fp16")}),
    )
    return replace(FakeDevice(name="pi1").info, board="raspberry-pi-zero-2w", runtimes=runtimes, protocol=3)


def test_all_is_what_it_has_figures_of_and_the_rest_is_told(zero: DeviceInfo):
    told: list[StudyNotice] = []
    found = offered_deployments(SearchConfig(runtimes=(), precisions=()), PI, zero, MODEL, SAMPLES, told.append)
    assert found.formats == (("onnxruntime", "fp32"), ("litert", "fp32"))
    assert [notice.text for notice in told] == [
        "pi1: no int8 in onnxruntime: the simulated raspberry-pi-zero-2w has no figures of it",
        "pi1: no int8 in litert: the simulated raspberry-pi-zero-2w has no figures of it",
    ]


def test_a_precision_by_name_that_no_runtime_of_it_has_figures_of_is_wrong_use(zero: DeviceInfo):
    with pytest.raises(WrongUse, match="no int8 in onnxruntime: the simulated raspberry-pi-zero-2w has no"):
        offered_deployments(SearchConfig(precisions=("int8",)), PI, zero, MODEL, SAMPLES, lambda notice: None)


def test_a_real_board_is_asked_for_whatever_the_rules_allow(zero: DeviceInfo):
    real = replace(zero, simulated=False, runtimes=tuple(replace(known, figures={}) for known in zero.runtimes))
    found = offered_deployments(SearchConfig(runtimes=(), precisions=()), PI, real, MODEL, SAMPLES, lambda notice: None)
    assert ("litert", "int8") in found.formats
