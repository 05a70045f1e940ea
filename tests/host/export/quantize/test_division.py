"""What tflite-runtime has no integer kernel for stays in floats in a static file."""

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.parity import Feed
from edgepareto.host.export.quantize import FEWEST_SAMPLES, Method, quantize_lite
from edgepareto.host.export.tflite import to_tflite
from onnx import TensorProto, helper, numpy_helper


def test_a_division_stays_in_floats_while_the_layer_before_it_is_int8():
    weights = np.random.default_rng(0).standard_normal((4, 3, 1, 1), dtype=np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "weights"], ["layer"]),
        helper.make_node("Exp", ["layer"], ["positive"]),
        helper.make_node("Div", ["layer", "positive"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, n, 5, 5)) for name, n in (("x", 3), ("y", 4))]
    graph = helper.make_graph(nodes, "quotient", values[:1], values[1:], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    random = np.random.default_rng(1)
    feeds: list[Feed] = [{"x": random.standard_normal((1, 3, 5, 5), dtype=np.float32)} for _ in range(FEWEST_SAMPLES)]
    made = schema.ModelT.InitFromPackedBuf(
        quantize_lite(to_tflite(model), feeds, method=Method.STATIC, name="it").content, 0
    )
    (graph_made,) = made.subgraphs
    types = {
        made.operatorCodes[operator.opcodeIndex].builtinCode: {graph_made.tensors[at].type for at in operator.outputs}
        for operator in graph_made.operators
    }
    assert types[schema.BuiltinOperator.DIV] == {schema.TensorType.FLOAT32}
    assert types[schema.BuiltinOperator.CONV_2D] == {schema.TensorType.INT8}
