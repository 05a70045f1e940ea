from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.runtime.litert_runtime import LiteRuntime
from edgepareto.agent.simulation.cost_model import Operator, OpKind
from edgepareto.agent.simulation.lite_operators import list_lite_operators
from edgepareto.agent.simulation.operators import list_operators
from edgepareto.host.export.quantize import CALIBRATION_SAMPLES, Method, quantize_lite, quantize_onnx
from edgepareto.host.export.tflite import to_tflite

MODELS = Path(__file__).parents[2] / "models"


def lite_operators(model: Path, provider: str = "XNNPACK") -> tuple[Operator, ...]:
    runtime = LiteRuntime(RuntimeOptions(name="litert", threads=1, provider=provider))
    runtime.load(model)
    return list_lite_operators(runtime.interpreter)


def test_a_cnns_operators_come_out_at_their_real_sizes(small_cnn: Path):
    operators = list_operators(small_cnn, {"x": np.ones((1, 3, 16, 16), np.float32)})
    seen = [(operator.kind, operator.channels, operator.macs) for operator in operators]
    assert seen == [
        (OpKind.CONV_3X3, 8, 16 * 16 * 8 * 3 * 9),  # with batch norm folded and Relu fused
        (OpKind.DEPTHWISE, 8, 8 * 8 * 8 * 9),  # with Clip fused
        (OpKind.POINTWISE, 20, 8 * 8 * 20 * 8),
        (OpKind.ELEMENTWISE, 20, 0),
        (OpKind.GROUPED, 20, 8 * 8 * 20 * 5 * 9),
        (OpKind.POOL, 20, 0),
        (OpKind.CONV, 6, 4 * 4 * 6 * 20 * 25),
        (OpKind.POOL, 6, 0),
        (OpKind.FULLY_CONNECTED, 10, 10 * 6),
    ]
    assert [operator.weights for operator in operators] == [216, 72, 160, 0, 900, 0, 3000, 0, 60]


def test_a_larger_batch_is_more_work(small_cnn: Path):
    one, three = (list_operators(small_cnn, {"x": np.ones((n, 3, 16, 16), np.float32)}) for n in (1, 3))
    assert [3 * operator.macs for operator in one] == [operator.macs for operator in three]


@pytest.mark.parametrize("model", ["small_lite_cnn", "small_half_cnn"])
@pytest.mark.parametrize("provider", ["XNNPACK", "CPU"])
def test_litert_lists_the_same_layers_whoever_runs_them_and_however_weights_are_kept(
    model: str, provider: str, small_cnn: Path, request: pytest.FixtureRequest
):
    """But for what is no layer: a stride's uneven padding is an operator of its own there."""
    onnx_operators = list_operators(small_cnn, {"x": np.ones((1, 3, 16, 16), np.float32)})
    seen = lite_operators(request.getfixturevalue(model), provider)
    layers, onnx_layers = (
        [(one.kind, one.channels, one.macs, one.weights) for one in listed if one.kind is not OpKind.ELEMENTWISE]
        for listed in (seen, onnx_operators)
    )
    assert layers == onnx_layers
    assert [one.macs for one in seen if one.reads_image] == [16 * 16 * 8 * 3 * 9]


@pytest.mark.parametrize(
    "name", ["efficientnet", "lstm_2", "mlp", "regnet", "shufflenet_v1", "transformer_encoder", "unet_transposed"]
)
def test_both_runtimes_count_the_same_arithmetic(name: str, tmp_path: Path):
    """Convolutions plain, grouped, depthwise and transposed, products in attention, and recurrent layers."""
    model = onnx.load(MODELS / f"{name}.dynamo.onnx")
    for value in model.graph.input:
        for axis in value.type.tensor_type.shape.dim:
            axis.dim_value = axis.dim_value or 1
    shapes = {v.name: [axis.dim_value for axis in v.type.tensor_type.shape.dim] for v in model.graph.input}
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "model.tflite").write_bytes(to_tflite(model).content)
    feed = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    in_onnx, in_lite = list_operators(tmp_path / "model.onnx", feed), lite_operators(tmp_path / "model.tflite")
    assert sum(one.macs for one in in_lite) == sum(one.macs for one in in_onnx) > 0
    layers = [sum(1 for one in listed if one.reduction) for listed in (in_onnx, in_lite)]
    assert layers[0] == layers[1]


def test_an_8_bit_model_has_the_layers_that_it_had_before(small_cnn: Path, tmp_path: Path):
    """Whatever integer kernels this machine's own runtimes have for it."""
    model = onnx.load(small_cnn)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    randomness = np.random.default_rng(0)
    feeds = [{"x": randomness.standard_normal((1, 3, 16, 16)).astype(np.float32)} for _ in range(CALIBRATION_SAMPLES)]
    in_onnx, in_lite = tmp_path / "model.onnx", tmp_path / "model.tflite"
    in_onnx.write_bytes(quantize_onnx(model, feeds, method=Method.STATIC, name="small"))
    in_lite.write_bytes(quantize_lite(to_tflite(model), feeds, method=Method.STATIC, name="small").content)
    floats, *integers = (
        [(one.kind, one.channels, one.macs, one.weights) for one in listed if one.reduction]
        for listed in (
            list_operators(small_cnn, feeds[0]),
            list_operators(in_onnx, feeds[0]),
            lite_operators(in_lite),
        )
    )
    assert integers == [floats, floats]
