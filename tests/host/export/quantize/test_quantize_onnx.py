"""int8 files of ONNX Runtime: what is in them, and what they say beside the float ones."""

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.errors import DataError, EvaluationError
from edgepareto.host.export.parity import Feed, onnx_outputs
from edgepareto.host.export.quantize import (
    FEWEST_SAMPLES,
    Fidelity,
    Method,
    int8_method,
    measure_fidelity,
    quantize_onnx,
    require_fidelity,
)
from onnx import TensorProto, helper, numpy_helper

MODELS = Path(__file__).parents[3] / "models"


def opened(name: str, samples: int = FEWEST_SAMPLES) -> tuple[onnx.ModelProto, list[Feed]]:
    model = onnx.load(MODELS / f"{name}.onnx")
    random = np.random.default_rng(0)
    sizes = {
        value.name: [axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim] for value in model.graph.input
    }
    feeds: list[Feed] = [
        {key: random.standard_normal(shape, dtype=np.float32) for key, shape in sizes.items()} for _ in range(samples)
    ]
    return model, feeds


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("resnet_basic.dynamo", "QuantizeLinear"),
        ("bn_kept.legacy", "QuantizeLinear"),
        ("vit_explicit.legacy", "MatMulInteger"),
        ("lstm_bi.legacy", "DynamicQuantizeLSTM"),
    ],
)
def test_an_int8_file_says_what_the_model_says_and_is_smaller(name: str, operator: str):
    model, feeds = opened(name, samples=16)
    made = quantize_onnx(model, feeds, method=int8_method(model), name=name)
    assert len(made) < 0.7 * model.ByteSize()
    assert operator in {node.op_type for node in onnx.load_from_string(made).graph.node}
    fidelity = measure_fidelity(onnx_outputs(model.SerializeToString(), feeds), onnx_outputs(made, feeds))
    require_fidelity(fidelity, name)
    assert fidelity.cosine > 0.98
    assert fidelity.relative > 0


def test_weights_are_quantised_per_channel_after_normalisations_became_part_of_them():
    model, feeds = opened("bn_kept.legacy")
    made = onnx.load_from_string(quantize_onnx(model, feeds, method=Method.STATIC, name="it"))
    constants = {tensor.name: tensor for tensor in made.graph.initializer}
    makers = {node.output[0]: node for node in made.graph.node}
    layers = [node for node in made.graph.node if node.op_type == "Conv"]
    assert layers
    for layer in layers:
        scales = constants[makers[layer.input[1]].input[1]]
        assert list(scales.dims) == [constants[makers[layer.input[1]].input[0]].dims[0]]
    kinds = [[node.op_type for node in graph.node].count("BatchNormalization") for graph in (model.graph, made.graph)]
    assert kinds == [8, 2]  # these two follow an activation


@pytest.mark.parametrize("bias", [(1, 5), (1,), (2, 5)])
def test_a_dense_layer_with_a_bias_that_is_broadcast_stays_in_floats(bias: tuple[int, ...]):
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((3, 5), dtype=np.float32),
        "b": random.standard_normal(bias, dtype=np.float32),
    }
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, n)) for name, n in (("x", 3), ("y", 5))]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "g", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    feeds: list[Feed] = [{"x": random.standard_normal((2, 3), dtype=np.float32)} for _ in range(FEWEST_SAMPLES)]
    made = quantize_onnx(model, feeds, method=Method.STATIC, name="it")
    assert measure_fidelity(onnx_outputs(model.SerializeToString(), feeds), onnx_outputs(made, feeds)).relative < 1e-6


def test_weights_of_three_axes_stay_in_floats_where_onnx_runtime_cannot_multiply_by_them_in_int8():
    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.standard_normal((2, 3, 5), dtype=np.float32), "w")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 4, n)) for name, n in (("x", 3), ("y", 5))]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "deep", values[:1], values[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    feeds: list[Feed] = [{"x": random.standard_normal((2, 4, 3), dtype=np.float32)}]
    made = quantize_onnx(model, feeds, method=Method.DYNAMIC, name="it")
    assert measure_fidelity(onnx_outputs(model.SerializeToString(), feeds), onnx_outputs(made, feeds)).relative < 1e-6


def test_the_batch_stays_open_and_the_model_as_it_is():
    model, feeds = opened("resnet_basic.dynamo")
    before = model.SerializeToString(deterministic=True)
    made = onnx.load_from_string(quantize_onnx(model, feeds, method=Method.STATIC, name="it"))
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert model.SerializeToString(deterministic=True) == before
    assert {entry.domain for entry in made.opset_import} == {""}


def test_the_same_model_and_samples_give_the_same_bytes():
    model, feeds = opened("mobilenet_v2.legacy")
    assert len({quantize_onnx(model, feeds, method=Method.STATIC, name="it") for _ in range(2)}) == 1


def test_too_few_samples_are_refused_with_how_many_it_needs_and_dynamic_needs_none():
    model, feeds = opened("resnet_basic.dynamo", samples=FEWEST_SAMPLES - 1)
    with pytest.raises(DataError, match=f"there are {FEWEST_SAMPLES - 1}, it needs {FEWEST_SAMPLES} and uses up to"):
        quantize_onnx(model, feeds, method=Method.STATIC, name="it")
    assert quantize_onnx(opened("lstm_1.legacy")[0], [], method=Method.DYNAMIC, name="it")


@pytest.mark.parametrize("name", ["vit_explicit.legacy", "cnn_keras2.keras"])  # whose LayerNorm, Resize it warns of
def test_the_quantiser_says_nothing_and_leaves_logging_as_it_found_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    model, feeds = opened(name)
    quantize_onnx(model, feeds, method=Method.STATIC, name="it")
    assert logging.getLogger().handlers == []
    assert capfd.readouterr() == ("", "")


def test_a_file_that_says_something_else_is_refused():
    random = np.random.default_rng(0)
    wanted: list[Feed] = [{"y": random.standard_normal((1, 10))} for _ in range(4)]
    constant: list[Feed] = [{"y": np.ones((1, 10))} for _ in range(4)]
    require_fidelity(measure_fidelity(wanted, wanted), "good.onnx")
    with pytest.raises(EvaluationError, match=r"bad.onnx: in int8 it gives other outputs than in fp32, on 4 samples"):
        require_fidelity(measure_fidelity(wanted, constant), "bad.onnx")
    with pytest.raises(EvaluationError):
        require_fidelity(measure_fidelity(wanted, [{"y": run["y"] * np.nan} for run in wanted]), "bad.onnx")


def test_an_output_that_says_the_same_of_every_sample_is_not_like_one_that_tells_them_apart():
    level = 100.0
    wanted: list[Feed] = [{"y": np.array([level + k])} for k in range(4)]
    stuck: list[Feed] = [{"y": np.array([level])} for _ in range(4)]
    assert measure_fidelity(wanted, stuck).cosine < 0.9
    require_fidelity(measure_fidelity(wanted, stuck), "but it is off by little")
    assert measure_fidelity(wanted, wanted) == Fidelity(
        absolute=0.0, relative=0.0, cosine=pytest.approx(1.0), samples=4
    )
