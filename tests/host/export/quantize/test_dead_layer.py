"""A layer that is zero on every sample: LiteRT crashes where its range is as narrow as it looks."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.parity import Feed, lite_outputs, onnx_outputs
from edgepareto.host.export.quantize import FEWEST_SAMPLES, Method, measure_fidelity, quantize_lite, require_fidelity
from edgepareto.host.export.tflite import to_tflite
from onnx import TensorProto, helper, numpy_helper

LARGEST_RATIO = 256  # of a layer's input and weight scales to its output scale; XNNPACK, qs8 requantization


def test_a_dead_layer_gets_a_range_that_litert_can_compute_with():
    random = np.random.default_rng(0)
    weights = {
        "alive": random.standard_normal((4, 3, 1, 1), dtype=np.float32),
        "w": random.standard_normal((4, 3, 1, 1), dtype=np.float32),
        "b": np.full(4, -1000, np.float32),
        "after": random.standard_normal((4, 4, 1, 1), dtype=np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["below"]),
        helper.make_node("Relu", ["below"], ["dead"]),
        helper.make_node("Conv", ["dead", "after"], ["nothing"]),
        helper.make_node("Conv", ["x", "alive"], ["something"]),
        helper.make_node("Add", ["nothing", "something"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, n, 5, 5)) for name, n in (("x", 3), ("y", 4))]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "dead", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    feeds: list[Feed] = [{"x": random.standard_normal((1, 3, 5, 5), dtype=np.float32)} for _ in range(FEWEST_SAMPLES)]
    made = quantize_lite(to_tflite(model), feeds, method=Method.STATIC, name="it")
    assert max(_ratios(made.content)) < LARGEST_RATIO  # before it is run: a crash would end all tests
    expected = onnx_outputs(model.SerializeToString(), feeds)
    require_fidelity(measure_fidelity(expected, lite_outputs(made, feeds)), "it")


def _ratios(content: bytes) -> list[float]:
    """Of all convolutions."""
    made = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = made.subgraphs
    scales = [None if tensor.quantization is None else tensor.quantization.scale for tensor in graph.tensors]
    layers = [
        operator
        for operator in graph.operators
        if made.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
    ]
    assert layers
    return [
        float(scales[layer.inputs[0]][0] * np.max(scales[layer.inputs[1]]) / scales[layer.outputs[0]][0])
        for layer in layers
    ]
