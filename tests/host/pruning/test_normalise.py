"""What every model looks like after normalising: the rooms behind rely on each of these sentences."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from edgepareto.host.errors import ModelError
from edgepareto.host.pruning import analyse, prepare
from edgepareto.host.pruning.normal_form.normalise import normalise
from edgepareto.host.pruning.normal_form.shape_inference import infer_shapes
from models.silence import outputs_of, relative_difference
from onnx import TensorProto, helper, numpy_helper

RANDOM = np.random.default_rng(0)
FLOATS = RANDOM.normal(size=(8, 6)).astype(np.float32)


def graph_model(nodes, inputs, outputs, arrays, opset=17, ir=8, **graph: object):
    """inputs, outputs: name -> shape, float32; a ValueInfoProto instead of a shape is taken as it is."""

    def declared(values):
        return [
            shape if isinstance(shape, onnx.ValueInfoProto) else helper.make_tensor_value_info(name, 1, shape)
            for name, shape in values.items()
        ]

    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    made = helper.make_graph(nodes, "net", declared(inputs), declared(outputs), tensors, **graph)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def node(op, inputs, outputs, **attributes: object):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def tensors(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def readers(model, name):
    return sum(list(each.input).count(name) for each in model.graph.node)


def operators(model):
    return [each.op_type for each in model.graph.node]


# --- what is shared


def test_a_weight_that_two_layers_read_stays_one_tensor_and_so_does_its_bias():
    model = graph_model(
        [node("Gemm", "x w b", "y", transB=1), node("Relu", "y", "z"), node("Gemm", "z w b", "out", transB=1)],
        {"x": ["n", 6]},
        {"out": ["n", 6]},
        {"w": RANDOM.normal(size=(6, 6)).astype(np.float32), "b": np.ones(6, np.float32)},
    )
    normal = normalise(model)
    assert sorted(tensors(normal)) == ["b", "w"]
    assert readers(normal, "w") == readers(normal, "b") == 2


def test_a_module_on_two_inputs_keeps_one_of_each_of_its_tensors():
    """A Siamese net: bias, slope and scale of the shared layer are shared too, what follows the towers is not."""
    tower = [
        ("MatMul", "{x} w", "{x}_1"),
        ("Add", "{x}_1 b", "{x}_2"),
        ("PRelu", "{x}_2 slope", "{x}_3"),
        ("Mul", "{x}_3 scale", "{x}_4"),
        ("MatMul", "{x}_4 w_{x}", "{x}_5"),
        ("Add", "{x}_5 b", "out_{x}"),
    ]
    vectors = {name: RANDOM.normal(size=6).astype(np.float32) for name in ("b", "slope", "scale")}
    matrices = {name: RANDOM.normal(size=(6, 6)).astype(np.float32) for name in ("w", "w_left", "w_right")}
    model = graph_model(
        [node(op, ins.format(x=x), out.format(x=x)) for x in ("left", "right") for op, ins, out in tower],
        {"left": ["n", 6], "right": ["n", 6]},
        {"out_left": ["n", 6], "out_right": ["n", 6]},
        {**vectors, **matrices},
    )
    normal = normalise(model)
    assert [readers(normal, name) for name in ("w", "b", "slope", "scale")] == [2, 2, 2, 2]
    assert sorted(tensors(normal)) == ["b", "b/2", "b/3", "scale", "slope", "w", "w_left", "w_right"]
    (group,) = analyse(model).groups
    assert group.channels == 6
    assert len(group.layers) == 2


def test_equal_tensors_that_an_exporter_stored_once_are_cloned():
    model = graph_model(
        [node("Gemm", "x w b", "y"), node("Gemm", "y v b", "z"), node("Mul", "z b", "out")],
        {"x": ["n", 6]},
        {"out": ["n", 6]},
        {
            "w": RANDOM.normal(size=(6, 6)).astype(np.float32),
            "v": RANDOM.normal(size=(6, 6)).astype(np.float32),
            "b": np.arange(6, dtype=np.float32),
        },
    )
    normal = normalise(model)
    assert [readers(normal, name) for name in tensors(normal)] == [1] * 5


def test_a_weight_filled_with_one_value_is_no_tie():
    model = graph_model(
        [node("Gemm", "x w", "y"), node("Gemm", "y w", "out")],
        {"x": ["n", 6]},
        {"out": ["n", 6]},
        {"w": np.full((6, 6), 0.02, np.float32)},
    )
    assert len(tensors(normalise(model))) == 2


def test_a_transposed_embedding_is_not_stored_a_second_time():
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", 4])
    model = graph_model(
        [
            node("Gather", "table ids", "x"),
            node("Transpose", "table", "head", perm=[1, 0]),
            node("MatMul", "x head", "y"),
        ],
        {"ids": ids},
        {"y": ["n", 4, 50]},
        {"table": RANDOM.normal(size=(50, 6)).astype(np.float32)},
    )
    analysis = analyse(model)
    assert analysis.parameters == 300
    assert readers(analysis.model, "table") == 2
    (features,) = analysis.frozen
    assert features.channels == 6
    assert "MatMul" in features.reason or "Transpose" in features.reason


def test_a_weight_that_a_body_reads_too_is_cloned_for_the_layer():
    body = helper.make_graph(
        [node("MatMul", "x w", "inner")], "body", [], [helper.make_tensor_value_info("inner", 1, None)]
    )
    choose = helper.make_tensor_value_info("choose", TensorProto.BOOL, [])
    model = graph_model(
        [
            node("If", "choose", "other", then_branch=body, else_branch=body),
            node("MatMul", "x w", "y"),
            node("Add", "y other", "out"),
        ],
        {"x": ["n", 8], "choose": choose},
        {"out": ["n", 6]},
        {"w": FLOATS},
    )
    normal = normalise(model)
    assert sorted(tensors(normal)) == ["w", "w/2"]
    feeds = {"x": np.ones((2, 8), np.float32), "choose": np.array(True)}
    assert relative_difference(outputs_of(normal, feeds), outputs_of(model, feeds)) == 0


# --- what is constant


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"value": numpy_helper.from_array(np.array([[1.5]], np.float16))}, np.array([[1.5]], np.float16)),
        ({"value": numpy_helper.from_array(np.zeros((0, 3), np.float32))}, np.zeros((0, 3), np.float32)),
        ({"value_float": 2.5}, np.array(2.5, np.float32)),
        ({"value_floats": [1.0, 2.0]}, np.array([1, 2], np.float32)),
        ({"value_int": 3}, np.array(3, np.int64)),
        ({"value_ints": [3, 4]}, np.array([3, 4], np.int64)),
    ],
)
def test_a_constant_node_becomes_an_initializer(value, wanted):
    model = graph_model([node("Constant", "", "c", **value), node("Shape", "c", "s")], {}, {"c": None, "s": None}, {})
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    model.graph.output[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(wanted.dtype)
    (found,) = (array for name, array in tensors(normalise(model)).items() if name == "c")
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def test_constants_of_strings_and_sparse_tensors_stay_nodes():
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("v", 1, [1], [2.0]), helper.make_tensor("i", TensorProto.INT64, [1], [3]), [6]
    )
    text = helper.make_tensor_value_info("text", TensorProto.STRING, [2])
    model = graph_model(
        [
            node("Constant", "", "words", value_strings=[b"a", b"b"]),
            node("Constant", "", "mostly_zero", sparse_value=sparse),
            node("Identity", "words", "text"),
            node("Add", "x mostly_zero", "y"),
        ],
        {"x": ["n", 6]},
        {"y": ["n", 6], "text": text},
        {},
    )
    assert operators(normalise(model)).count("Constant") == 2


def test_what_depends_on_constants_only_is_computed_once():
    model = graph_model(
        [
            node("Cast", "w", "wide", to=TensorProto.FLOAT),
            node("Transpose", "wide", "t", perm=[1, 0]),
            node("CastLike", "zero x", "z"),
            node("Expand", "z five", "bias"),
            node("Gemm", "x t bias", "y"),
        ],
        {"x": ["n", 4]},
        {"y": ["n", 5]},
        {"w": np.ones((5, 4), np.float16), "zero": np.array(0), "five": np.array([5])},
    )
    normal = normalise(model)
    assert operators(normal) == ["Gemm"]
    assert {array.shape for array in tensors(normal).values()} == {(4, 5), (5,)}


def test_a_draw_at_random_and_a_quantisation_are_not_folded():
    model = graph_model(
        [
            node("RandomNormal", "", "noise", shape=[6]),
            node("DequantizeLinear", "q scale", "w"),
            node("Add", "x noise", "y"),
            node("Mul", "y w", "out"),
        ],
        {"x": ["n", 6]},
        {"out": ["n", 6]},
        {"q": np.arange(6, dtype=np.int8), "scale": np.array(0.1, np.float32)},
    )
    assert operators(normalise(model)) == ["RandomNormal", "DequantizeLinear", "Add", "Mul"]


def test_a_constant_that_the_runtime_cannot_compute_stays_a_node():
    narrow = numpy_helper.from_array(FLOATS.astype(ml_dtypes.bfloat16), "w")
    model = graph_model(
        [
            node("Transpose", "w", "t", perm=[1, 0]),
            node("Identity", "two", "same"),
            node("Neg", "same", "minus"),
            node("MatMul", "x t", "y"),
            node("Cast", "y", "z", to=TensorProto.FLOAT),
            node("Mul", "z minus", "out"),
        ],
        {"x": helper.make_tensor_value_info("x", TensorProto.BFLOAT16, ["n", 6])},
        {"out": ["n", 8]},
        {"two": np.array(2, np.float32)},
    )
    model.graph.initializer.append(narrow)
    normal = normalise(model)
    assert operators(normal) == ["Transpose", "MatMul", "Cast", "Mul"]
    assert -2 in [array.item() for array in tensors(normal).values() if array.size == 1]


def test_an_if_that_always_takes_the_same_branch_is_opened():
    """As torch writes x.squeeze(1) for a tensor whose shape it did not look at."""

    def branch(op):
        out = helper.make_tensor_value_info("same_name", 1, None)
        return helper.make_graph([node(op, "y" if op == "Identity" else "y one", "same_name")], op, [], [out])

    model = graph_model(
        [
            node("Relu", "x", "y"),
            node("Shape", "y", "shape"),
            node("Gather", "shape one", "size", axis=0),
            node("Equal", "size one", "is_one"),
            node("If", "is_one", "z", then_branch=branch("Squeeze"), else_branch=branch("Identity")),
            node("If", "is_one", "out", then_branch=branch("Squeeze"), else_branch=branch("Identity")),
            node("Concat", "z out", "both", axis=1),
        ],
        {"x": ["n", 1, 6]},
        {"both": ["n", 12]},
        {"one": np.array([1])},
    )
    normal = normalise(model)
    assert operators(normal) == ["Relu", "Squeeze", "Squeeze", "Concat"]
    feeds = {"x": RANDOM.normal(size=(2, 1, 6)).astype(np.float32)}
    assert relative_difference(outputs_of(normal, feeds), outputs_of(model, feeds)) == 0


# --- sizes


def reshape_target(nodes, shape, output, **arrays: object):
    model = graph_model(nodes, {"x": shape}, {"y": output}, {name: np.array(v) for name, v in arrays.items()})
    normal = normalise(model)
    (reshape,) = (each for each in normal.graph.node if each.op_type == "Reshape")
    target = tensors(normal).get(reshape.input[1])
    return None if target is None else target.tolist()


def test_heads_folded_into_the_batch_leave_a_constant_target():
    """view(length, batch * heads, width) of a tensor (length, batch, features), as the legacy exporter computes it."""
    nodes = [
        node("Relu", "x", "inner"),
        node("Shape", "inner", "shape"),
        node("Gather", "shape zero", "length", axis=0),
        node("Gather", "shape one", "batch", axis=0),
        node("Mul", "batch heads", "rows"),
        node("Gather", "shape two", "features", axis=0),
        node("Div", "features heads", "width"),
        *(node("Unsqueeze", f"{name} axis", f"{name}_1") for name in ("length", "rows", "width")),
        node("Concat", "length_1 rows_1 width_1", "target", axis=0),
        node("Reshape", "inner target", "y"),
    ]
    numbers = {"zero": 0, "one": 1, "two": 2, "heads": 4, "axis": [0]}
    assert reshape_target(nodes, [12, "batch", 32], [12, None, 8], **numbers) == [12, -1, 8]
    assert reshape_target(nodes, ["length", "batch", 32], [None, None, 8], **numbers) == [0, -1, 8]


def test_a_minus_one_that_is_a_known_size_makes_room_for_the_batch():
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape zero one", "batch"),
        node("Mul", "batch two", "double"),
        node("Concat", "double rest", "target", axis=0),
        node("Reshape", "x target", "y"),
    ]
    assert reshape_target(nodes, ["n", 6, 4], [None, 3, 4], zero=[0], one=[1], two=[2], rest=[-1, 4]) == [-1, 3, 4]


def test_a_target_with_two_free_sizes_stays_computed():
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("Shape", "t", "shape"),
        node("Gather", "shape order", "target"),
        node("Reshape", "t target", "y"),
    ]
    assert reshape_target(nodes, ["a", "b", 4], [None, None, 4], order=[1, 0, 2]) is None


def test_a_literal_zero_in_a_target_is_left_alone():
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape zero one", "batch"),
        node("Concat", "batch nothing", "target", axis=0),
        node("Reshape", "x target", "y", allowzero=1),
    ]
    assert reshape_target(nodes, ["n", 0, 4], ["n", 0], zero=[0], one=[1], nothing=[0]) is None


@pytest.mark.parametrize(
    "chain",
    [
        [node("Gather", "shape zero", "batch", axis=0), node("Unsqueeze", "batch axis", "rows")],
        [node("Gather", "shape backwards", "turned", axis=0), node("Slice", "turned one two", "rows")],
    ],
)
def test_the_batch_is_asked_of_the_input_and_not_of_a_tensor_that_is_cut(chain):
    model = graph_model(
        [
            node("MatMul", "x w", "inner"),
            node("Shape", "inner", "shape"),
            *chain,
            node("Concat", "rows one", "target", axis=0),
            node("Expand", "token target", "tokens"),
            node("Concat", "inner tokens", "out", axis=1),
        ],
        {"x": ["n", 8]},
        {"out": ["n", 7]},
        {
            "w": FLOATS, "zero": np.array(0), "axis": np.array([0]), "one": np.array([1]),
            "two": np.array([2]),
            "backwards": np.array([1, 0]), "token": np.ones((1, 1), np.float32),
        },
    )  # fmt: skip
    normal = normalise(model)
    (shape,) = (each for each in normal.graph.node if each.op_type == "Shape")
    assert list(shape.input) == ["x"]
    feeds = {"x": RANDOM.normal(size=(3, 8)).astype(np.float32)}
    assert relative_difference(outputs_of(normal, feeds), outputs_of(model, feeds)) == 0


def test_equal_free_sizes_have_equal_names_behind_layers_that_keep_them():
    weight = np.zeros((5, 3, 3, 3), np.float32)
    model = graph_model(
        [
            node("Conv", "x w", "y", pads=[1, 1, 1, 1]),
            node("MaxPool", "y", "z", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
            node("Transpose", "z", "t", perm=[0, 2, 3, 1]),
            node("Reshape", "t target", "out"),
        ],
        {"x": ["n", 3, "height", "width"]},
        {"out": None},
        {"w": weight, "target": np.array([0, -1, 5])},
    )
    shapes, _ = infer_shapes(normalise(model))
    assert shapes["z"] == ("n", 5, "height", "width")
    assert shapes["out"] == ("n", "height*width", 5)


@pytest.mark.parametrize("outputs", [{"out": None}, {"out": None, "y": None}])
def test_a_layers_weight_tells_the_rank_that_inference_lost(outputs):
    model = graph_model(
        [node("Gelu", "x", "y", domain="com.microsoft"), node("Conv", "y w", "out")],
        {"x": ["n", 3, 8, 8]},
        outputs,
        {"w": np.zeros((5, 3, 3, 3), np.float32)},
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    shapes, _ = infer_shapes(normalise(model))
    assert shapes["y"][1] == 3
    assert shapes["out"][1] == 5
    assert len(shapes["out"]) == 4


def test_a_stale_shape_of_an_output_does_not_mislead():
    model = graph_model([node("MatMul", "x w", "y")], {"x": ["n", 8]}, {"y": ["n", 9]}, {"w": FLOATS})
    model.graph.value_info.append(helper.make_tensor_value_info("y", 1, ["n", 7]))
    normal = normalise(model)
    assert infer_shapes(normal)[0]["y"] == ("n", 6)
    assert not normal.graph.value_info


@pytest.mark.parametrize(("opset", "size", "parts"), [(11, 8, [4, 4]), (13, 8, [4, 4]), (18, 7, [4, 3])])
def test_a_split_into_equal_parts_is_given_its_sizes(opset, size, parts):
    attributes = {"num_outputs": 2} if opset == 18 else {}
    model = graph_model(
        [node("Split", "x", "a b", axis=1, **attributes)], {"x": ["n", size]}, {"a": None, "b": None}, {}, opset
    )
    normal = normalise(model)
    (split,) = normal.graph.node
    written = [list(each.ints) for each in split.attribute if each.name == "split"]
    written += [array.tolist() for array in tensors(normal).values()]
    assert written == [parts]
    feeds = {"x": RANDOM.normal(size=(2, size)).astype(np.float32)}
    assert relative_difference(outputs_of(normal, feeds), outputs_of(model, feeds)) == 0


def test_a_state_of_zeros_is_left_out_and_another_one_is_not():
    """torch builds h0 as zeros(layers, batch, hidden): the width would be a number in the graph."""
    weights = {"w": np.ones((1, 12, 4), np.float32), "r": np.ones((1, 12, 3), np.float32)}
    model = graph_model(
        [
            node("Shape", "x", "shape"),
            node("Gather", "shape one", "batch"),
            node("Concat", "one batch three", "target", axis=0),
            node("ConstantOfShape", "target", "h0"),
            node("Expand", "learned target", "c0"),
            node("LSTM", "x w r  h0 c0".replace("  ", " none "), "y", hidden_size=3),
        ],
        {"x": [7, "n", 4]},
        {"y": None},
        {**weights, "one": np.array([1]), "three": np.array([3]), "learned": np.ones((1, 1, 3), np.float32)},
    )
    model.graph.node[-1].input[3] = ""
    model.graph.node[-1].input.insert(3, "")
    normal = normalise(model)
    lstm = next(each for each in normal.graph.node if each.op_type == "LSTM")
    assert list(lstm.input[3:]) == ["", "", "", "c0"]
    feeds = {"x": RANDOM.normal(size=(7, 2, 4)).astype(np.float32)}
    assert relative_difference(outputs_of(normal, feeds), outputs_of(model, feeds)) == 0


# --- names, order, what is kept


def test_nodes_in_any_order_with_names_missing_or_twice_are_sorted_and_named():
    model = graph_model(
        [
            node("Relu", "b", "out", name="same"),
            node("Neg", "x", "a", name="same"),
            node("Abs", "a", "b"),
            node("GRU", "b w r", "all last", hidden_size=3),
        ],
        {"x": [5, "n", 4]},
        {"out": [5, "n", 4], "last": [1, "n", 3]},
        {"w": np.ones((1, 9, 4), np.float32), "r": np.ones((1, 9, 3), np.float32)},
    )
    model.graph.node[-1].output[0] = ""
    model.graph.name = ""
    normal = normalise(model)
    assert operators(normal) == ["Neg", "Abs", "GRU", "Relu"]
    assert [each.name for each in normal.graph.node] == ["same", "b", "last", "same#2"]
    feeds = {"x": RANDOM.normal(size=(5, 2, 4)).astype(np.float32)}
    assert [output.shape for output in outputs_of(normal, feeds)] == [(5, 2, 4), (1, 2, 3)]


def test_a_local_function_becomes_plain_nodes():
    body = onnx.helper.make_function(
        "mine", "Block", ["a", "b"], ["c"],
        [node("MatMul", "a b", "inner"), node("Relu", "inner", "c")],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    model = graph_model(
        [node("Block", "x w", "y", domain="mine"), node("Block", "y v", "out", domain="mine")],
        {"x": ["n", 8]},
        {"out": ["n", 5]},
        {"w": FLOATS, "v": RANDOM.normal(size=(6, 5)).astype(np.float32)},
    )
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    normal = normalise(model)
    assert operators(normal) == ["MatMul", "Relu", "MatMul", "Relu"]
    assert not normal.functions
    feeds = {"x": RANDOM.normal(size=(3, 8)).astype(np.float32)}
    assert relative_difference(outputs_of(normal, feeds), outputs_of(model, feeds)) == 0


def test_what_a_user_wrote_into_the_model_is_kept():
    model = graph_model(
        [node("MatMul", "x w", "y")],
        {"x": ["n", 8], "unused": [3], "scalar": []},
        {"y": ["n", 6], "w": [8, 6], "x": ["n", 8]},
        {"w": FLOATS},
        doc_string="a graph",
    )
    model.doc_string = "a model"
    model.metadata_props.add(key="labels", value="abc")
    model.graph.metadata_props.add(key="part", value="whole")
    model.opset_import.append(helper.make_opsetid("com.example", 3))
    scales = onnx.TensorAnnotation(tensor_name="y")
    scales.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="y_scale")
    model.graph.quantization_annotation.append(scales)
    analysis = analyse(model)
    pruned = prepare(analysis, None, criterion="l1").prune(analysis.search_space().dense(), recovery="none").model
    for normal in (analysis.model, pruned):
        assert normal.graph.input == model.graph.input
        assert normal.graph.output == model.graph.output
        assert normal.metadata_props == model.metadata_props
        assert normal.graph.metadata_props == model.graph.metadata_props
        assert normal.opset_import == model.opset_import
        assert (normal.doc_string, normal.graph.doc_string) == ("a model", "a graph")
    feeds = {"x": np.ones((2, 8), np.float32), "unused": np.ones(3, np.float32), "scalar": np.array(1, np.float32)}
    assert relative_difference(outputs_of(pruned, feeds), outputs_of(model, feeds)) == 0


# --- what is refused


def test_weights_in_a_file_that_was_not_loaded_are_named():
    model = graph_model([node("MatMul", "x w", "y")], {"x": ["n", 8]}, {"y": ["n", 6]}, {"w": FLOATS})
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin")
    model.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(ModelError, match="'w' lie in another file"):
        normalise(model)


def test_a_node_that_depends_on_itself_is_named():
    model = graph_model(
        [node("Add", "x b", "a", name="first"), node("Neg", "a", "b")], {"x": ["n", 8]}, {"b": ["n", 8]}, {}
    )
    with pytest.raises(ModelError, match="'first' depends on itself"):
        normalise(model)


def test_a_weight_with_too_few_bytes_is_refused():
    model = graph_model([node("MatMul", "x w", "y")], {"x": ["n", 128]}, {"y": ["n", 6]}, {"w": np.ones((128, 6), "f")})
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    with pytest.raises(ModelError, match="not valid ONNX"):
        normalise(model)
