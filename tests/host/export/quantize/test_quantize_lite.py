"""int8 files of LiteRT: what is in them, and what they say beside the float ones."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.errors import ConfigError, DataError
from edgepareto.host.export.parity import Feed, lite_outputs, onnx_outputs
from edgepareto.host.export.quantize import (
    FEWEST_SAMPLES,
    Method,
    measure_fidelity,
    missing_lite_quantizer,
    quantize_lite,
    require_fidelity,
)
from edgepareto.host.export.tflite import LiteModel, to_tflite

MODELS = Path(__file__).parents[3] / "models"


def converted(name: str, samples: int = FEWEST_SAMPLES) -> tuple[bytes, LiteModel, list[Feed]]:
    """A fixture, its .tflite file, and inputs of batch 1."""
    model = onnx.load(MODELS / f"{name}.onnx")
    random = np.random.default_rng(0)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    feeds: list[Feed] = [
        {value.name: random.standard_normal(_sizes(value), dtype=np.float32) for value in model.graph.input}
        for _ in range(samples)
    ]
    return model.SerializeToString(), to_tflite(model, name), feeds


def _sizes(value: onnx.ValueInfoProto) -> Sequence[int]:
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


def buffers_of(content: bytes) -> list[schema.BufferT]:
    buffers: list[schema.BufferT] = schema.ModelT.InitFromPackedBuf(content, 0).buffers
    return buffers


@pytest.mark.parametrize("name", ["resnet_basic.dynamo", "mobilenet_v2.legacy"])
def test_a_static_file_takes_floats_gives_floats_and_says_what_the_model_says(name: str):
    floats, lite, feeds = converted(name, samples=16)
    made = quantize_lite(lite, feeds, method=Method.STATIC, name=name)
    assert (made.inputs, made.outputs) == (lite.inputs, lite.outputs)
    outputs = lite_outputs(made, feeds)  # by the signature, in the file's order of axes
    assert all(array.dtype == np.float32 for run in outputs for array in run.values())
    fidelity = measure_fidelity(onnx_outputs(floats, feeds), outputs)
    require_fidelity(fidelity, name)
    assert fidelity.cosine > 0.98
    assert fidelity.relative > 0  # it is no copy of the float file


def test_weights_lie_inside_the_flatbuffer_where_every_reader_finds_them():
    _, lite, feeds = converted("resnet_basic.dynamo")
    made = quantize_lite(lite, feeds, method=Method.STATIC, name="resnet")
    assert all(buffer.offset <= 1 for buffer in buffers_of(made.content))
    assert len(made.content) < len(lite.content)


def test_the_same_model_and_samples_give_the_same_bytes():
    _, lite, feeds = converted("mobilenet_v2.legacy")
    first, second = (quantize_lite(lite, feeds, method=Method.STATIC, name="it").content for _ in range(2))
    assert first == second


def test_too_few_samples_are_refused_with_how_many_it_needs():
    _, lite, feeds = converted("resnet_basic.dynamo")
    with pytest.raises(DataError, match=f"there are {FEWEST_SAMPLES - 1}, it needs {FEWEST_SAMPLES}"):
        quantize_lite(lite, feeds[1:], method=Method.STATIC, name="resnet")


def test_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch):
    _, lite, feeds = converted("resnet_basic.dynamo")
    assert missing_lite_quantizer() is None
    monkeypatch.setitem(sys.modules, "litert_quantizer", None)
    with pytest.raises(ConfigError, match=r"pip install 'edgepareto\[quantize\]'") as raised:
        quantize_lite(lite, feeds, method=Method.STATIC, name="resnet")
    assert missing_lite_quantizer() == str(raised.value)


def test_samples_that_are_all_the_same_teach_no_ranges_and_are_refused() -> None:
    _, lite, feeds = converted("resnet_basic.dynamo")
    with pytest.raises(DataError, match="the first 8 are all the same"):
        quantize_lite(lite, [feeds[0]] * FEWEST_SAMPLES, method=Method.STATIC, name="net")
