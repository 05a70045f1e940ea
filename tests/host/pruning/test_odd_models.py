"""Nothing odd loses the model: what is not understood keeps its channels, with a reason; the rest is cut exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import pytest
from edgepareto.host.pruning import Analysis, analyse, prepare
from edgepareto.host.pruning.slice_model import kept_classes
from models.silence import outputs_of, relative_difference, silenced
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.host.pruning.conftest import Net

Feeds = dict[str, NDArray[np.generic]]


def model_of(
    net: Net,
    outputs: Mapping[str, Sequence[int | str] | None],
    inputs: Mapping[str, Sequence[int | str]] | None = None,
    ir: int = 8,
    more: Sequence[onnx.ValueInfoProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        net.nodes,
        "net",
        [
            *(helper.make_tensor_value_info(name, 1, shape) for name, shape in (inputs or IMAGE).items()),
            *more,
        ],
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in net.tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", net.opset)], ir_version=ir)


IMAGE: Mapping[str, Sequence[int | str]] = {"image": ("batch", 3, 8, 8)}


def images(count: int = 2, size: int = 8) -> Feeds:
    return {"image": np.random.default_rng(1).normal(size=(count, 3, size, size)).astype(np.float32)}


def cut_in_half(model: onnx.ModelProto, feeds: Feeds) -> tuple[Analysis, onnx.ModelProto]:
    """Prunes every group at 50 % and proves it exact: the channels that went, made zero, change nothing."""
    analysis = analyse(model)
    prepared = prepare(analysis, None, criterion="l1")
    genome = analysis.search_space().uniform(0.5)
    pruned = prepared.prune(genome, recovery="none")
    check(pruned.model)
    dense = outputs_of(model, feeds)
    assert relative_difference(outputs_of(analysis.model, feeds), dense) < 1e-5
    kept = kept_classes(analysis, prepared.importance, genome)
    assert not kept.all(), "nothing was cut"
    wanted = outputs_of(silenced(analysis, kept), feeds)
    assert relative_difference(wanted, dense) > 1e-3, "a test on silence proves nothing"
    assert relative_difference(outputs_of(pruned.model, feeds), wanted) < 1e-5
    assert pruned.parameters < analysis.parameters
    return analysis, pruned.model


def check(model: onnx.ModelProto) -> None:
    """The checker wants outputs with a shape, which runtimes do not need."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.output:
        value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(copy)


def cut(analysis: Analysis) -> list[int]:
    return [group.channels for group in analysis.groups]


def reasons(analysis: Analysis) -> list[str]:
    """But for the last layer's."""
    return sorted({g.reason for g in analysis.frozen if not g.reason.startswith("reaches the model's output")})


def around(odd: Callable[[Net, str], str], opset: int = 17, name: str = "logits") -> tuple[Net, str]:
    """Three convolutions and a head; between the second, of 10 channels, and the third stands what is odd."""
    net = Net(opset)
    x = net.relu(net.conv("image", 3, 8))
    x = odd(net, net.relu(net.conv(x, 8, 10)))
    x = net.relu(net.conv(x, 10, 12))
    return net, net.head(x, 12)


# --- operators that are not followed


def branch(op: str, *read: str) -> onnx.GraphProto:
    inner = f"{op.lower()}_inner"
    return helper.make_graph(
        [helper.make_node(op, read, [inner])], op, [], [helper.make_tensor_value_info(inner, 1, None)]
    )


def unknown(net: Net, x: str) -> str:
    return net.node("CumSum", x, net.constant(np.array(1)), name="odd")


def other_domain(net: Net, x: str) -> str:
    return net.node("Gelu", x, name="odd", domain="com.microsoft")


def choice(net: Net, x: str) -> str:
    return net.node("If", "choose", then_branch=branch("Neg", x), else_branch=branch("Abs", x), name="odd")


def loop(net: Net, x: str) -> str:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", x], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", 1, None),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), helper.make_tensor_value_info("next", 1, None)],
    )
    return net.node("Loop", net.constant(np.array(3)), "", x, body=body, name="odd")


def scan(net: Net, x: str) -> str:
    body = helper.make_graph(
        [helper.make_node("Add", ["state", "row"], ["sum"]), helper.make_node("Relu", ["sum"], ["made"])],
        "body",
        [helper.make_tensor_value_info(name, 1, None) for name in ("state", "row")],
        [helper.make_tensor_value_info(name, 1, None) for name in ("sum", "made")],
    )
    start = net.node("ReduceMax", x, axes=[2], keepdims=0)
    scanned = net.node(
        "Scan", start, x, body=body, num_scan_inputs=1, scan_input_axes=[2], scan_output_axes=[2], outputs=2, name="odd"
    )
    return scanned[:-1] + "1"


def quantised(net: Net, x: str) -> str:
    scale, zero = net.constant(0.05), net.constant(np.array(128), "uint8")
    return net.node("DequantizeLinear", net.node("QuantizeLinear", x, scale, zero, name="odd"), scale, zero)


def integer_conv(net: Net, x: str) -> str:
    """QLinearConv, as a quantiser writes it."""
    scale, zero = net.constant(0.05), net.constant(np.array(128), "uint8")
    q = net.node("QuantizeLinear", x, scale, zero, name="odd")
    weight = net.constant(net.random.integers(-100, 100, (10, 10, 1, 1)), "int8")
    weight_scale, weight_zero = net.constant(np.full(10, 0.01)), net.constant(np.zeros(10, int), "int8")
    y = net.node("QLinearConv", q, scale, zero, weight, weight_scale, weight_zero, scale, zero)
    return net.node("DequantizeLinear", y, scale, zero)


def target_from_an_input(net: Net, x: str) -> str:
    return net.node("Reshape", x, "target", name="odd")


def reads_its_own_width(net: Net, x: str) -> str:
    """Divides by the number of channels, which is asked of the tensor: pruning must not change the quotient."""
    width = net.node("Cast", net.node("Size", x), to=1)
    return net.node("Mul", x, net.node("Sqrt", width))


NOT_FOLLOWED = {
    unknown: "is read by 'odd' (CumSum), which is an operator that pruning does not know yet",
    other_domain: "is read by 'odd' (com.microsoft.Gelu), which is an operator that pruning does not know yet",
    choice: "is read by 'odd' (If), which decides at run time what is computed",
    loop: "is read by 'odd' (Loop), which repeats a part of the model",
    scan: "is read by 'odd' (Scan), which repeats a part of the model",
    quantised: "is read by 'odd' (QuantizeLinear), which is quantised: prune the model before it is quantised",
    integer_conv: "is read by 'odd' (QuantizeLinear), which is quantised: prune the model before it is quantised",
    target_from_an_input: "is read by 'odd' (Reshape), which takes sizes that are computed at run time",
}
FEEDS: Mapping[Callable[[Net, str], str], Feeds] = {
    choice: {"choose": np.array(True)},
    target_from_an_input: {"target": np.array([2, 10, 4, 16])},
}


@pytest.mark.parametrize("odd", NOT_FOLLOWED, ids=lambda odd: odd.__name__)
def test_what_is_not_followed_keeps_its_channels_and_the_rest_is_cut(odd):
    net, logits = around(odd)
    given = {
        choice: helper.make_tensor_value_info("choose", TensorProto.BOOL, []),
        target_from_an_input: helper.make_tensor_value_info("target", TensorProto.INT64, [4]),
    }
    model = model_of(net, {logits: ("batch", 5)}, more=[given[odd]] if odd in given else [])
    if odd is other_domain:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    analysis, _ = cut_in_half(model, {**images(), **FEEDS.get(odd, {})})
    assert cut(analysis) == [8, 12]
    assert NOT_FOLLOWED[odd] in reasons(analysis)


def test_layers_with_quantised_weights_are_listed_as_frozen():
    net = Net(13)
    x = net.relu(net.conv("image", 3, 8))
    weight = net.constant(net.random.integers(-100, 100, (10, 8, 3, 3)), "int8")
    weight = net.node(
        "DequantizeLinear", weight, net.constant(np.full(10, 0.01)), net.constant([0] * 10, "int8"), axis=0
    )
    x = net.relu(net.node("Conv", x, weight, name="narrow"))
    x = net.relu(net.conv(x, 10, 12))
    logits = net.head(x, 12)
    analysis, _ = cut_in_half(model_of(net, {logits: ("batch", 5)}), images())
    assert cut(analysis) == [12]
    assert [(g.name, g.channels) for g in analysis.frozen][:2] == [("Conv0", 8), ("narrow", 10)]
    assert reasons(analysis) == [
        "is made by 'narrow' (Conv), which has quantised weights: prune the model before it is quantised",
        "is read by 'narrow' (Conv), which has quantised weights: prune the model before it is quantised",
    ]


def test_layers_whose_weights_are_sparse_or_computed_are_listed_as_frozen():
    net = Net()
    x = net.relu(net.conv("image", 3, 8))
    x = net.relu(net.node("Conv", x, net.node("Exp", "given"), name="guided"))
    x = net.node("Flatten", net.node("GlobalAveragePool", net.relu(net.conv(x, 6, 7))))
    x = net.node("MatMul", x, "thin", name="thin_layer")
    logits = net.gemm(net.relu(x), 4, 5)
    model = model_of(net, {logits: ("batch", 5)}, {**IMAGE, "given": (6, 8, 3, 3)})
    values, places = helper.make_tensor("thin", 1, [2], [1.0, 2.0]), [3, 9]
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, helper.make_tensor("thin_i", TensorProto.INT64, [2], places), [7, 4])
    )
    analysis = analyse(model)
    assert cut(analysis) == []
    assert {(g.name, g.channels) for g in analysis.frozen} >= {("guided", 6), ("thin_layer", 4)}
    assert "is made by 'guided' (Conv), which computes its weights at run time" in reasons(analysis)
    assert "is made by 'thin_layer' (MatMul), which has sparse weights" in reasons(analysis)


def test_a_size_asked_of_a_cut_tensor_stays_what_it_was():
    net, logits = around(reads_its_own_width)
    analysis, _ = cut_in_half(model_of(net, {logits: (1, 5)}, {"image": (1, 3, 8, 8)}), images(1))
    assert cut(analysis) == [8, 10, 12]


def test_a_number_of_channels_that_stays_computed_freezes_them():
    net, logits = around(reads_its_own_width)
    analysis, _ = cut_in_half(model_of(net, {logits: ("batch", 5)}), images())
    assert cut(analysis) == [8, 12]
    assert "is read by 'Size4' (Size), which counts its channels at run time" in reasons(analysis)


def heads(net: Net, x: str, width: int = 24) -> list[str]:
    """Queries, keys and values, (batch, 7, 4, 6)."""
    made = []
    for _ in range(3):
        weight = net.constant(net.random.normal(size=(width, 24)) / 5)
        made.append(net.node("Reshape", net.node("MatMul", x, weight), net.constant([0, 7, 4, 6])))
    return made


def test_heads_that_einsum_multiplies_are_cut_whole():
    net = Net()
    q, k, v = heads(net, "words", 5)
    scores = net.node("Softmax", net.node("Einsum", q, k, equation="bqhd,bkhd->bhqk"), axis=-1)
    x = net.node("Reshape", net.node("Einsum", scores, v, equation="bhqk, bkhd -> bqhd"), net.constant([0, 7, 24]))
    x = net.node("Einsum", x, net.constant(net.random.normal(size=(24, 3))), equation="btd,de->bte")
    feeds: Feeds = {"words": np.random.default_rng(0).normal(size=(2, 7, 5)).astype(np.float32)}
    analysis, _ = cut_in_half(model_of(net, {x: None}, {"words": ("batch", 7, 5)}), feeds)
    assert cut(analysis) == [4]


def test_a_piece_of_an_axis_that_holds_channels_of_many_samples_is_not_taken_for_channels():
    net = Net()
    x, *_ = heads(net, "words", 5)
    x = net.node("Reshape", net.node("Transpose", x, perm=[0, 2, 1, 3]), net.constant([-1, 7, 6]))
    x = net.node("Slice", x, net.constant([0]), net.constant([2]), net.constant([0]), name="piece")
    weight = net.constant(net.random.normal(size=(6, 8)))
    x = net.node("MatMul", net.relu(net.node("MatMul", x, weight)), net.constant(net.random.normal(size=(8, 3))))
    feeds: Feeds = {"words": np.random.default_rng(0).normal(size=(2, 7, 5)).astype(np.float32)}
    analysis, _ = cut_in_half(model_of(net, {x: None}, {"words": ("batch", 7, 5)}), feeds)
    assert cut(analysis) == [8]
    assert "is read by 'piece' (Slice), which takes apart an axis that holds channels of many samples" in reasons(
        analysis
    )


# --- weights that are shared


def test_a_head_on_two_levels_stays_one_head():
    """RetinaNet: the same convolutions on every level of a pyramid."""
    net = Net()
    tower, tower_bias = net.constant(net.random.normal(size=(9, 8, 3, 3)) / 6), net.constant(np.full(9, 0.1))
    box, box_bias = net.constant(net.random.normal(size=(4, 9, 1, 1)) / 3), net.constant(np.zeros(4))
    levels = []
    fine = net.relu(net.conv("image", 3, 8))
    for level in (fine, net.relu(net.conv(fine, 8, 8, stride=2))):
        y = net.relu(net.node("Conv", level, tower, tower_bias, pads=[1] * 4, name=f"tower{len(levels)}"))
        levels.append(net.node("Conv", y, box, box_bias))
    model = model_of(net, dict.fromkeys(levels))
    analysis, pruned = cut_in_half(model, images())
    assert cut(analysis) == [8, 9]
    assert analysis.groups[1].layers == ("tower0", "tower1")
    assert analysis.parameters == 9 * 72 + 9 + 36 + 4 + (27 * 8 + 8) + (72 * 8 + 8)
    again = analyse(pruned)
    assert again.parameters == sum(tensor_size(tensor) for tensor in pruned.graph.initializer)


def tensor_size(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims)) if tensor.data_type == 1 else 0


def test_a_tied_weight_that_one_reader_cannot_cut_stays_whole():
    net = Net()
    weight = net.constant(net.random.normal(size=(3, 3, 3, 3)) / 3)
    x = net.relu(net.node("Conv", "image", weight, pads=[1] * 4, name="first"))
    x = net.relu(net.node("Conv", x, weight, pads=[1] * 4, name="second"))
    x = net.relu(net.conv(x, 3, 6))
    analysis, _ = cut_in_half(model_of(net, {net.head(x, 6): ("batch", 5)}), images())
    assert cut(analysis) == [6]
    assert reasons(analysis) == ["comes from the model's input 'image'"]


def test_a_tied_weight_is_repaired_once_and_stays_one_tensor():
    net = Net()
    weight = net.constant(net.random.normal(size=(8, 8, 1, 1)) / 2)
    x = net.relu(net.conv("image", 3, 8))
    for _ in range(2):
        x = net.relu(net.node("Conv", x, weight))
    model = model_of(net, {net.head(x, 8): ("batch", 5)})
    analysis = analyse(model)
    prepared = prepare(analysis, images(256))
    genome = analysis.search_space().uniform(0.75)
    unseen = {"image": np.random.default_rng(5).normal(size=(32, 3, 8, 8)).astype(np.float32)}
    (wanted,) = outputs_of(model, unseen)

    def error(recovery: str) -> float:
        pruned = prepared.prune(genome, recovery=recovery).model
        assert [node.input[1] for node in pruned.graph.node if node.op_type == "Conv"][1:] == [weight, weight]
        return float(np.linalg.norm(outputs_of(pruned, unseen)[0] - wanted))

    assert error("ls") < 0.8 * error("none")


def test_a_table_that_is_also_a_head_is_not_repaired_for_the_head():
    """The embedding read its rows before the head could be fitted."""
    net = Net()
    table = net.constant(net.random.normal(size=(30, 8)))
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", 6])
    x = net.node("Gather", table, "tokens", axis=0)
    x = net.node(
        "MatMul",
        net.node("MatMul", x, net.constant(net.random.normal(size=(8, 12)))),
        net.constant(net.random.normal(size=(12, 8))),
    )
    head = net.node("Gemm", net.node("ReduceMean", x, axes=[1], keepdims=0), table, transB=1)
    graph = helper.make_graph(
        net.nodes,
        "net",
        [tokens],
        [helper.make_tensor_value_info(head, 1, ["batch", 30])],
        [numpy_helper.from_array(value, name) for name, value in net.tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    analysis = analyse(model)
    samples = {"tokens": np.random.default_rng(1).integers(30, size=(64, 6))}
    prepared = prepare(analysis, samples)
    genome = analysis.search_space().uniform(0.5)

    def shared(recovery: str) -> NDArray[np.float32]:
        pruned = prepared.prune(genome, recovery=recovery).model
        return next(numpy_helper.to_array(t) for t in pruned.graph.initializer if t.name == table)

    np.testing.assert_array_equal(shared("ls"), shared("none"))


# --- shapes


@pytest.mark.parametrize("shape", [(None, 3, None, None), ("n", 3, "h", "w"), (2, 3, "h", "w"), ("n", 3, 8, 8)])
def test_sizes_that_are_free_do_not_matter(shape):
    net = Net()
    x = net.relu(net.conv("image", 3, 8))
    y = net.relu(net.conv(x, 8, 6, stride=2))
    y = net.node("Resize", y, "", net.constant(np.array([1.0, 1.0, 2.0, 2.0])))
    x = net.node("Concat", x, y, axis=1)
    x = net.relu(net.conv(x, 14, 10))
    x = net.node("Reshape", net.node("GlobalAveragePool", x), net.constant([0, -1]))
    analysis, _ = cut_in_half(model_of(net, {net.gemm(x, 10, 5): None}, {"image": shape}), images())
    assert cut(analysis) == [8, 6, 10]


def test_a_sequence_of_any_length_is_no_obstacle():
    net = Net()
    weights = [net.constant(net.random.normal(size=size) / 3) for size in ((6, 8), (8, 9), (9, 5))]
    x = net.relu(net.node("MatMul", "words", weights[0]))
    x = net.relu(net.node("MatMul", x, weights[1]))
    x = net.node("MatMul", net.node("ReduceMean", x, axes=[1], keepdims=0), weights[2])
    model = model_of(net, {x: None}, {"words": ("batch", "length", 6)})
    feeds: Feeds = {"words": np.random.default_rng(0).normal(size=(2, 7, 6)).astype(np.float32)}
    analysis, _ = cut_in_half(model, feeds)
    assert cut(analysis) == [8, 9]


def test_a_model_whose_shapes_are_lost_half_way_is_cut_before_and_behind():
    net = Net()
    x = net.relu(net.conv("image", 3, 8))
    x = net.relu(net.conv(x, 8, 10))
    lost = net.node("Gelu", x, domain="com.microsoft", name="odd")
    x = net.node("Add", net.node("Gelu", x, domain="com.microsoft"), lost)
    x = net.relu(net.batch_norm(x, 10))
    x = net.relu(net.conv(x, 10, 12))
    model = model_of(net, {net.head(net.relu(net.conv(x, 12, 9)), 9): None})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    analysis, _ = cut_in_half(model, images())
    assert cut(analysis) == [8, 12, 9]


def test_scalar_inputs_empty_tensors_and_scalar_outputs_are_no_obstacle():
    net = Net()
    x = net.node("Mul", net.relu(net.conv("image", 3, 8)), "gain")
    kept = net.head(net.relu(net.conv(x, 8, 6)), 6)
    total = net.node("ReduceSum", kept, keepdims=0)
    empty = net.node("Concat", net.constant(np.zeros((0, 5))), kept, axis=0)
    model = model_of(net, {total: (), empty: None}, {**IMAGE, "gain": ()})
    analysis, _ = cut_in_half(model, {**images(), "gain": np.array(0.5, np.float32)})
    assert cut(analysis) == [8, 6]


# --- weights of other types


def perceptron() -> onnx.ModelProto:
    net = Net()
    x = net.relu(net.gemm("image", 6, 8))
    x = net.relu(net.gemm(x, 8, 10))
    return model_of(net, {net.gemm(x, 10, 5): ("batch", 5)}, {"image": ("batch", 6)})


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 1e-2), (np.float64, 1e-12)])
def test_half_and_double_precision_are_cut_exactly(dtype, tolerance):
    model = perceptron()
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = kind
    analysis = analyse(model)
    prepared = prepare(analysis, None, criterion="l2")
    genome = analysis.search_space().uniform(0.5)
    pruned = prepared.prune(genome, recovery="none").model
    feeds: Feeds = {"image": np.random.default_rng(0).normal(size=(3, 6)).astype(dtype)}
    wanted = outputs_of(silenced(analysis, kept_classes(analysis, prepared.importance, genome)), feeds)
    assert relative_difference(outputs_of(pruned, feeds), wanted) < tolerance
    assert {tensor.data_type for tensor in pruned.graph.initializer} == {kind}
    assert cut(analysis) == [8, 10]


def test_a_model_in_bfloat16_is_cut_though_no_processor_here_runs_it():
    net, logits = around(lambda net, x: x, opset=22)
    model = model_of(net, {logits: ("batch", 5)})
    for tensor in model.graph.initializer:
        narrow = helper.make_tensor(tensor.name, 16, tensor.dims, numpy_helper.to_array(tensor).reshape(-1).tolist())
        tensor.CopyFrom(narrow)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    analysis = analyse(model)
    assert cut(analysis) == [8, 10, 12]
    assert analysis.parameters == 8 * 27 + 8 + 720 + 10 + 1080 + 12 + 60 + 5
    pruned = prepare(analysis, None, criterion="l1").prune(analysis.search_space().uniform(0.5), recovery="none")
    onnx.checker.check_model(pruned.model, full_check=True)
    assert {tensor.data_type for tensor in pruned.model.graph.initializer} == {TensorProto.BFLOAT16}


def test_weights_stored_in_half_precision_and_cast_are_cut():
    net = Net()
    x = net.relu(net.conv("image", 3, 8))
    weight = net.node("Cast", net.constant(net.random.normal(size=(6, 8, 3, 3)), "float16"), to=1)
    x = net.relu(net.node("Conv", x, weight))
    analysis, _ = cut_in_half(model_of(net, {net.head(x, 6): ("batch", 5)}), images())
    assert cut(analysis) == [8, 6]


# --- opsets


def every_form(opset: int) -> onnx.ModelProto:
    """Operators whose form changed between opsets, each on channels that are cut."""
    net = Net(opset)

    def ints(*values: int) -> str:
        return net.constant(list(values))

    def axes(op: str, x: str, *values: int, since: int = 13, **more: object) -> str:
        return net.node(op, x, ints(*values), **more) if opset >= since else net.node(op, x, axes=list(values), **more)

    def slice_(x: str, start: int, end: int) -> str:
        if opset < 10:
            return net.node("Slice", x, starts=[start], ends=[end], axes=[1])
        return net.node("Slice", x, ints(start), ints(end), ints(1))

    def clip(x: str) -> str:
        if opset < 11:
            return net.node("Clip", x, min=0.0, max=6.0)
        return net.node("Clip", x, net.constant(0.0), net.constant(6.0))

    def pad(x: str) -> str:
        pads = [0, 0, 1, 1, 0, 0, 1, 1]
        return net.node("Pad", x, pads=pads, mode="constant") if opset < 11 else net.node("Pad", x, ints(*pads))

    def double(x: str) -> str:
        scales = [1.0, 1.0, 2.0, 2.0]
        if opset < 9:
            return net.node("Upsample", x, scales=scales, mode="nearest")
        if opset < 11:
            return net.node("Upsample" if opset == 9 else "Resize", x, net.constant(np.array(scales)), mode="nearest")
        return net.node("Resize", x, net.constant(np.zeros(0)), net.constant(np.array(scales)), mode="nearest")

    def split(x: str) -> str:
        if opset < 13:
            return net.node("Split", x, axis=1, outputs=2, **({"split": [4, 6]} if opset % 2 else {}))
        if opset >= 18:
            return net.node("Split", x, axis=1, outputs=2, num_outputs=2)
        return net.node("Split", x, axis=1, outputs=2)

    def mean(x: str) -> str:
        return axes("ReduceMean", x, 2, 3, since=18, keepdims=1)

    x = clip(net.batch_norm(net.conv("image", 3, 10), 10))
    left = split(x)
    right = left[:-1] + "1"
    sizes = (4, 6) if opset < 13 and opset % 2 else (5, 5)
    left, right = net.relu(net.conv(left, sizes[0], 7)), net.relu(net.conv(right, sizes[1], 7))
    x = net.node("Concat", slice_(x, 2, 8), net.node("Add", left, right), axis=1)
    x = net.relu(net.conv(pad(x), 13, 9))
    x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Mul", x, net.node("Sigmoid", net.conv(mean(x), 9, 9, 1)))
    x = net.relu(net.conv(double(x), 9, 11))
    x = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = axes("Squeeze", net.node("GlobalAveragePool", x), 2, 3)
    x = net.relu(net.gemm(net.node("Dropout", x), 11, 13))
    x = axes("ReduceSum", axes("Unsqueeze", x, 2), 2, keepdims=0)
    logits = net.node("Softmax", net.gemm(x, 13, 5), axis=1)
    return model_of(net, {logits: ("batch", 5)})


@pytest.mark.parametrize("opset", range(7, 23))
def test_the_same_net_in_every_opset_is_cut_the_same(opset):
    model = every_form(opset)
    onnx.checker.check_model(model, full_check=True)
    analysis, _ = cut_in_half(model, images())
    assert reasons(analysis) == []
    assert sum(cut(analysis)) == 10 + 7 + 9 + 11 + 13
    assert analysis.model.opset_import[0].version == opset
