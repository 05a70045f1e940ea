"""A .tflite file is scored as its .onnx file is: its own order of axes, its batch, its state are no caller's matter."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.accuracy import Dataset, predictor, score
from edgepareto.host.accuracy.metrics import top1
from edgepareto.host.errors import EvaluationError
from edgepareto.host.export.tflite import LiteModel, to_tflite

MODELS = Path(__file__).parents[2] / "models"


def converted(name: str, batch: int) -> tuple[onnx.ModelProto, LiteModel]:
    model = onnx.load(MODELS / f"{name}.onnx")
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return model, to_tflite(model, name)


def made_up(model: onnx.ModelProto, samples: int) -> Dataset:
    """Labelled by nobody who knows."""
    random = np.random.default_rng(3)
    (value,) = model.graph.input
    sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]]
    return Dataset(
        source="made up",
        inputs={value.name: random.standard_normal((samples, *sizes), dtype=np.float32)},
        labels=random.integers(0, 5, samples),
        dtypes={value.name: np.dtype(np.float32)},
        batches={value.name: 1},
        scale=1.0,
        offset=0.0,
        sha256="",
    )


@pytest.mark.parametrize(
    ("name", "batch"),
    [("mobilenet_v2.legacy", 1), ("mobilenet_v2.legacy", 4), ("cnn.keras", 1), ("lstm.keras", 1)],
    ids=["image", "four at a time", "image that Keras has channels last", "recurrent"],
)
def test_a_tflite_file_scores_what_its_onnx_file_scores_hit_for_hit(name: str, batch: int):
    model, lite = converted(name, batch)
    dataset = made_up(model, samples=11)
    np.testing.assert_allclose(
        predictor(lite)(dataset.feed(slice(None))),
        predictor(model.SerializeToString())(dataset.feed(slice(None))),
        rtol=1e-4,
        atol=1e-5,
    )
    assert score(lite, dataset, top1) == score(model.SerializeToString(), dataset, top1)


def test_a_file_that_litert_refuses_is_an_evaluation_error():
    model, lite = converted("cnn.keras", 1)
    broken = LiteModel(content=b"TFL3" * 8, inputs=lite.inputs, outputs=lite.outputs)
    with pytest.raises(EvaluationError, match="LiteRT does not load the model"):
        score(broken, made_up(model, samples=2), top1)
