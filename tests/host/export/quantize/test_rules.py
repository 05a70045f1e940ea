"""Which int8 a model takes, and what is refused where."""

from pathlib import Path

import onnx
import pytest
from edgepareto.host.export.quantize import Method, ModelKind, int8_method, model_kind, refusal

MODELS = Path(__file__).parents[3] / "models"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("resnet_basic.dynamo", ModelKind.PLAIN),
        ("mobilenet_v3.legacy", ModelKind.PLAIN),  # squeeze and excite: a mean that nothing is subtracted from
        ("cnn.keras", ModelKind.PLAIN),  # ends in a Softmax that weighs nothing
        ("vit_sdpa.dynamo", ModelKind.ATTENTION),
        ("convnext.legacy", ModelKind.ATTENTION),  # LayerNorm, no attention
        ("attention.keras", ModelKind.ATTENTION),
        ("lstm_2.legacy", ModelKind.LSTM),
        ("gru_bi.dynamo", ModelKind.RECURRENT),
        ("gru_loop.keras", ModelKind.RECURRENT),
    ],
)
def test_the_kind_of_a_model_is_told_by_its_operators(name: str, kind: ModelKind):
    model = onnx.load(MODELS / f"{name}.onnx")
    assert model_kind(model) is kind
    assert int8_method(model) is (Method.STATIC if kind is ModelKind.PLAIN else Method.DYNAMIC)


def on(runtime: str, kind: ModelKind, *, precision: str = "int8", library: str | None = None) -> str | None:
    own = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
    return refusal(
        runtime=runtime,
        library=library or own.get(runtime, "onnxruntime-gpu"),
        version="2.14.0",
        precision=precision,
        kind=kind,
    )


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_convolutions_may_be_int8_on_every_cpu_also_with_the_old_library(runtime: str):
    assert on(runtime, ModelKind.PLAIN) is None
    assert on("litert", ModelKind.PLAIN, library="tflite-runtime") is None


def test_what_is_known_to_go_wrong_is_refused_with_the_reason():
    assert on("litert", ModelKind.ATTENTION) is None
    assert "tflite-runtime 2.14.0 computes dynamic int8 wrongly" in str(
        on("litert", ModelKind.ATTENTION, library="tflite-runtime")
    )
    assert on("onnxruntime", ModelKind.LSTM) is None
    assert "leaves an LSTM as it is" in str(on("litert", ModelKind.LSTM))
    assert "GRU" in str(on("onnxruntime", ModelKind.RECURRENT))
    assert "made for CPUs" in str(on("onnxruntime-tensorrt", ModelKind.PLAIN))
    assert "with a cast" in str(on("onnxruntime", ModelKind.PLAIN, precision="fp16"))


@pytest.mark.parametrize("kind", list(ModelKind))
def test_nothing_is_said_against_floats_that_a_runtime_computes(kind: ModelKind):
    assert on("onnxruntime", kind, precision="fp32") is None
    assert on("litert", kind, precision="fp32") is None
    assert on("litert", kind, precision="fp16") is None
    assert on("onnxruntime-tensorrt", kind, precision="fp16") is None
