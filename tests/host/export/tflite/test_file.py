"""What stands in the file beside its outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.errors import EvaluationError
from edgepareto.host.export import fix_every_size, read_model
from edgepareto.host.export.parity import Parity, measure_parity, onnx_outputs, require_parity
from edgepareto.host.export.tflite import LiteModel, UnsupportedModel, to_tflite
from onnx import TensorProto, helper, numpy_helper

EXAMPLE = Path(__file__).parents[4] / "examples" / "fashion_mnist" / "mobilenet.onnx"
SHAPE = (1, 1, 28, 28)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return fix_every_size(read_model(EXAMPLE), [("x", SHAPE)])


def graph_of(lite: LiteModel) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(lite.content, 0))


def codes_of(lite: LiteModel) -> list[int]:
    file = graph_of(lite)
    return [file.operatorCodes[operator.opcodeIndex].builtinCode for operator in file.subgraphs[0].operators]


def test_no_operator_is_left_that_a_layer_can_do_itself(model: onnx.ModelProto):
    """Batch normalisations, ReLUs and transposes of the network are in its layers."""
    alone = {schema.BuiltinOperator.RELU, schema.BuiltinOperator.RELU6, schema.BuiltinOperator.TRANSPOSE}
    assert alone.isdisjoint(codes_of(to_tflite(model)))


def test_a_division_by_a_constant_is_a_product(model: onnx.ModelProto):
    """Which has a kernel for 8-bit integers everywhere; the example divides its images by their deviation."""
    assert any(node.op_type == "Div" for node in model.graph.node)
    assert schema.BuiltinOperator.DIV not in codes_of(to_tflite(model))


def test_a_divisor_that_has_no_inverse_stays_one():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy")
    tiny = numpy_helper.from_array(np.array([1, 1e-40], np.float32), "tiny")
    graph = helper.make_graph([helper.make_node("Div", ["x", "tiny"], ["y"])], "one", [x], [y], [tiny])
    assert codes_of(to_tflite(helper.make_model(graph))) == [schema.BuiltinOperator.DIV]


def test_weights_lie_at_addresses_that_the_schema_demands(model: onnx.ModelProto):
    lite = to_tflite(model)
    file = schema.Model.GetRootAsModel(lite.content, 0)
    whole = np.frombuffer(lite.content, np.uint8)
    places = [file.Buffers(i).DataAsNumpy() for i in range(file.BuffersLength())]
    starts = [
        data.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        for data in places
        if not isinstance(data, int)
    ]
    assert len(starts) > 20
    assert {start % 16 for start in starts} == {0}


def test_equal_models_give_equal_bytes(model: onnx.ModelProto):
    assert to_tflite(model).content == to_tflite(model).content


def test_16_bit_weights_halve_the_file_and_cost_little(model: onnx.ModelProto):
    whole, half = to_tflite(model), to_tflite(model, half=True)
    assert len(half.content) < 0.6 * len(whole.content)
    feed = {"x": np.random.default_rng(0).random(SHAPE, np.float32)}
    parity = measure_parity(half, [feed], onnx_outputs(model.SerializeToString(), [feed]))
    assert 1e-5 < parity.relative < 5e-3
    require_parity(parity, "fp16")


def test_the_gate_lets_no_file_pass_that_computes_something_else(model: onnx.ModelProto):
    other = onnx.ModelProto()
    other.CopyFrom(model)
    last = next(t for t in other.graph.initializer if list(t.dims) == [10])
    last.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(last) + np.float32(0.1), last.name))
    feed = {"x": np.random.default_rng(0).random(SHAPE, np.float32)}
    parity = measure_parity(to_tflite(other), [feed], onnx_outputs(model.SerializeToString(), [feed]))
    with pytest.raises(EvaluationError, match=r"other outputs than ONNX Runtime, relative error .* allowed 0.0001"):
        require_parity(parity, "fp32")
    with pytest.raises(EvaluationError, match="relative error nan"):
        require_parity(Parity(absolute=float("nan"), relative=float("nan"), samples=1), "fp32")


def test_all_that_is_missing_is_told_at_once():
    nodes = [
        helper.make_node("Tan", ["x"], ["a"]),
        helper.make_node("Tan", ["a"], ["b"]),
        helper.make_node("Erf", ["b"], ["c"]),
        helper.make_node("Acosh", ["c"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy"]
    graph = helper.make_graph(nodes, "odd", values[:1], values[1:])
    odd = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(UnsupportedModel, match=r"odd.onnx: LiteRT cannot express Acosh, Tan \(2\); run it with"):
        to_tflite(odd, "odd.onnx")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.STRING])
def test_types_that_kernels_lack_are_refused(kind: int):
    values = [helper.make_tensor_value_info(name, kind, (1, 4)) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "typed", values[:1], values[1:])
    typed = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(
        UnsupportedModel, match=r"cannot express an input of (float16|float64|text or an unknown type); run"
    ):
        to_tflite(typed)
