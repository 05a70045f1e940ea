"""A branch that drops out is the branch zeroed, exactly, and the rest is repaired for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.domain import Genome
from edgepareto.host.errors import ConfigError
from edgepareto.host.pruning import Analysis, PreparedModel, analyse, prepare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models.catalogue import FIXTURES, Fixture
from models.silence import outputs_of, relative_difference
from models.zeroed import zeroed
from onnx import TensorProto, helper

EXAMPLE = Path(__file__).parents[3] / "examples" / "fashion_mnist"


def names(analysis: Analysis) -> list[str]:
    return [branch.name for branch in analysis.branches]


def assert_exact(model: onnx.ModelProto, feeds: dict[str, np.ndarray], *, ratio: float = 1.0) -> Analysis:
    """Each branch alone, all of them, and every other one, at these widths."""
    analysis = analyse(model)
    prepared = prepare(analysis, None, criterion="l1")
    space = analysis.search_space()
    genome = space.uniform(ratio)
    whole = prepared.prune(genome, recovery="none").model
    every = names(analysis)
    for dropped in ([[name] for name in every] + [every, every[::2]]) if every else []:
        pruned = prepared.prune(space.without(genome, *dropped), recovery="none")
        onnx.checker.check_model(pruned.model, full_check=True)
        assert (pruned.model.graph.input, pruned.model.graph.output) == (model.graph.input, model.graph.output)
        assert pruned.model.metadata_props == model.metadata_props
        left = zeroed(whole, {branch.output for branch in analysis.branches if branch.name in dropped})
        assert relative_difference(outputs_of(pruned.model, feeds), outputs_of(left, feeds)) < 1e-5
        again = analyse(pruned.model)
        assert (again.macs, again.parameters) == (pruned.macs, pruned.parameters)
        assert pruned.macs < analysis.macs
    return analysis


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_a_dropped_branch_is_the_branch_zeroed_in_every_structure(model, ratio, images):
    assert_exact(model, {"image": images[:4]}, ratio=ratio)


# What the definitions in tests/models say: one per residual block, two per transformer block, one per path that HRNet
# and a feature pyramid add to another. All others concatenate, or have no block.
EXPECTED = {
    "bn_kept": 2,
    "cnn_transformer": 4,
    "convnext": 3,
    "efficientnet": 3,
    "ghostnet": 4,
    "hrnet": 13,
    "mobilenet_v2": 2,
    "mobilenet_v3": 3,
    "regnet": 4,
    "resnet_basic": 4,
    "resnet_bottleneck": 4,
    "resnext": 4,
    "shared_head": 1,
    "shufflenet_v1": 2,
    "transformer_encoder": 4,
    "vit_explicit": 4,
    "vit_sdpa": 4,
}


@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_a_dropped_branch_is_the_branch_zeroed_in_every_architecture(fixture: Fixture):
    architecture = fixture.architecture
    analysis = assert_exact(onnx.load(fixture.path), architecture.feeds(batch=architecture.fixed_batch or 2))
    assert len(analysis.branches) == EXPECTED.get(architecture.name, 0)


def body(net, x: str, channels: int, outputs: int, pick: Callable[[int], int], depth: int) -> str:
    """One to three layers, an activation or not, and maybe blocks within."""
    y = net.conv(x, channels, outputs, 1 + 2 * pick(2))
    for _ in range(pick(3)):
        kind = pick(4)
        if kind == 0:
            y = net.relu(y)
        elif kind == 1 and depth:
            y = blocks(net, y, outputs, pick, depth - 1)
        elif kind == 2:
            y = net.conv(y, outputs, outputs, group=outputs)
        else:
            y = net.conv(net.relu(y), outputs, outputs)
    return y


def blocks(net, x: str, channels: int, pick: Callable[[int], int], depth: int) -> str:
    """Residual ones of every kind, one after the other: plain, before their activation, projected, side by side, around
    a smaller map, and one whose first layer is read behind it too."""
    for _ in range(1 + pick(3)):
        kind = pick(6)
        if kind == 0:
            x = net.relu(net.node("Add", x, body(net, x, channels, channels, pick, depth)))
        elif kind == 1:
            x = net.node(("Add", "Sum")[pick(2)], body(net, net.relu(x), channels, channels, pick, depth), x)
        elif kind == 2:
            x = net.node("Add", *(body(net, x, channels, channels, pick, depth) for _ in range(2)))
        elif kind == 3:
            added = net.node("Add", x, body(net, x, channels, channels, pick, depth))
            x = net.node("Add", added, body(net, x, channels, channels, pick, depth))
        elif kind == 4:
            small = body(net, net.conv(x, channels, 6, stride=2), 6, channels, pick, depth)
            scales = net.constant(np.array([1, 1, 2, 2], dtype=np.float32))
            x = net.node("Add", x, net.node("Resize", small, "", scales, mode="nearest"))
        else:
            first = net.conv(x, channels, channels)
            x = net.node("Mul", net.node("Add", x, net.conv(first, channels, channels)), net.node("Sigmoid", first))
    return x


@settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data())
def test_any_set_of_branches_of_any_residual_network_is_left_out_exactly(data, new_net):
    net = new_net()
    x = blocks(net, net.conv("image", 3, 8), 8, lambda options: data.draw(st.integers(0, options - 1)), 1)
    model = net.model(net.head(x, 8))
    analysis = analyse(model)
    prepared = prepare(analysis, None, criterion="l1")
    space = analysis.search_space()
    genome = space.decode([data.draw(st.integers(0, axis.size - 1)) for axis in space.axes])
    pruned = prepared.prune(genome, recovery="none")
    onnx.checker.check_model(pruned.model, full_check=True)
    whole = prepared.prune(Genome(widths=genome.widths), recovery="none").model
    left = zeroed(whole, {branch.output for branch in analysis.branches if branch.name in genome.dropped})
    assert relative_difference(outputs_of(pruned.model, images_of(3)), outputs_of(left, images_of(3))) < 1e-5
    again = analyse(pruned.model)
    assert (again.macs, again.parameters) == (pruned.macs, pruned.parameters)
    images = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    for recovery in ("ls", "moment"):
        repaired = prepare(analysis, {"image": images}, criterion="l1").prune(genome, recovery=recovery)
        assert all(np.isfinite(output).all() for output in outputs_of(repaired.model, images_of(3)))
        assert repaired.macs == pruned.macs


@cache
def example(name: str) -> PreparedModel:
    model = onnx.load(EXAMPLE / f"{name}.onnx")
    calibration = np.load(EXAMPLE / "calibration.npz")["x"][:512].astype(np.float32) / 255
    return prepare(analyse(model), {model.graph.input[0].name: calibration})


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("resnet", ["block1", "block2", "block3", "block4"]), ("mobilenet", ["block2", "block4", "block5"])],
)
def test_the_example_nets_can_lose_every_residual_branch_exactly(name, blocks):
    model = onnx.load(EXAMPLE / f"{name}.onnx")
    feeds = {"x": np.load(EXAMPLE / "test.npz")["x"][:8].astype(np.float32) / 255}
    analysis = assert_exact(model, feeds)
    assert_exact(model, feeds, ratio=0.5)
    assert names(analysis) == [f"/{block}/Add" for block in blocks]
    for branch, block in zip(analysis.branches, blocks, strict=True):
        assert all(f"/{block}/" in layer and "shortcut" not in layer for layer in branch.layers)
        inside = [analysis.groups[place] for place in branch.groups]
        assert inside
        assert all(f"/{block}/" in layer for group in inside for layer in group.layers)


def test_of_two_branches_that_meet_the_one_with_more_work_may_go_and_never_both(new_net):
    net = new_net()
    x = net.relu(net.conv("image", 3, 8))
    small, large = net.conv(x, 8, 6, 1), net.conv(net.relu(net.conv(x, 8, 8)), 8, 6)
    analysis = assert_exact(net.model(net.head(net.node("Add", small, large, name="meet"), 6)), images_of(3))
    (branch,) = analysis.branches
    assert (branch.name, branch.kept, branch.output) == ("meet", small, large)
    assert branch.parameters == 8 * 8 * 9 + 8 + 6 * 8 * 9 + 6
    assert branch.macs == 64 * (8 * 8 * 9 + 6 * 8 * 9)
    assert branch.share_of_macs == branch.macs / analysis.macs
    assert [analysis.groups[place].channels for place in branch.groups] == [8]


def images_of(channels: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(5).normal(size=(2, channels, 8, 8)).astype(np.float32)}


def nested(net) -> onnx.ModelProto:
    x = net.relu(net.conv("image", 3, 6))
    y = net.relu(net.conv(x, 6, 8))
    y = net.node("Add", y, net.relu(net.conv(net.relu(net.conv(y, 8, 5)), 5, 8)), name="inner")
    x = net.node("Add", x, net.conv(y, 8, 6), name="outer")
    return net.model(net.head(x, 6))


def test_a_branch_inside_a_dropped_one_counts_as_dropped(new_net):
    analysis = assert_exact(nested(new_net()), images_of(3))
    inner, outer = analysis.branches
    assert (inner.name, outer.name) == ("inner", "outer")
    assert (inner.branches, outer.branches) == ((), (0,))
    assert set(inner.groups) < set(outer.groups)
    space = analysis.search_space()
    assert space.without(space.dense(), "outer").dropped == ("inner", "outer")
    assert space.without(space.dense(), "inner").dropped == ("inner",)


def test_widths_inside_a_dropped_branch_change_nothing(new_net):
    analysis = analyse(nested(new_net()))
    prepared = prepare(analysis, None, criterion="l1")
    space = analysis.search_space()
    wide = Genome(widths=space.dense().widths, dropped=("outer",))
    assert space.decode(space.encode(wide)) != wide
    models = {prepared.prune(genome, recovery="none").content for genome in (wide, space.without(wide))}
    assert len(models) == 1


def test_what_is_read_elsewhere_too_stays_and_the_rest_of_the_branch_may_go(new_net):
    net = new_net()
    x = net.relu(net.conv("image", 3, 8))
    shared = net.relu(net.conv(x, 8, 8))
    x = net.node("Add", x, net.conv(shared, 8, 8), name="add")
    analysis = assert_exact(net.model(net.head(net.node("Concat", x, shared, axis=1), 16)), images_of(3))
    (branch,) = analysis.branches
    assert len(branch.layers) == 1
    assert branch.groups == ()


def stem(net) -> str:
    return net.relu(net.conv("image", 3, 8))


def a_constant(net) -> str:
    return net.node("Add", net.conv(stem(net), 8, 8), net.constant(np.ones((1, 8, 8, 8))))


def itself(net) -> str:
    x = net.conv(stem(net), 8, 8)
    return net.node("Add", x, x)


def what_broadcasts(net) -> str:
    x = stem(net)
    return net.node("Add", x, net.conv(net.node("GlobalAveragePool", x), 8, 8, 1))


def no_layer(net) -> str:
    x = stem(net)
    return net.node("Add", x, net.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4))


def a_gate(net) -> str:
    x = stem(net)
    return net.node("Mul", x, net.node("Sigmoid", net.conv(x, 8, 8, 1)))


def a_whole_other_way(net) -> str:
    """Both sides end in what is read elsewhere: neither is there for the sum alone."""
    x = net.conv(stem(net), 8, 8)
    y = net.conv(x, 8, 8)
    return net.node("Concat", net.node("Add", x, y), x, y, axis=1)


@pytest.mark.parametrize("ends", [a_constant, itself, what_broadcasts, no_layer, a_gate, a_whole_other_way])
def test_what_adds_nothing_skippable_is_no_branch(ends, new_net):
    net = new_net()
    x = ends(net)
    channels = 24 if ends is a_whole_other_way else 8
    assert analyse(net.model(net.head(x, channels))).branches == ()


def test_a_network_is_no_branch_of_itself(new_net):
    net = new_net()
    denoised = net.node("Add", "image", net.conv(net.relu(net.conv("image", 3, 8)), 8, 3))
    assert analyse(net.model(denoised, result=("batch", 3, 8, 8))).branches == ()


def test_an_input_that_only_a_branch_reads_keeps_the_branch(new_net):
    net = new_net()
    x = net.node("Add", stem(net), net.conv("depth", 1, 8), name="two inputs")
    x = net.node("Add", x, net.conv(net.relu(net.conv(x, 8, 6)), 6, 8), name="residual")
    depth = helper.make_tensor_value_info("depth", TensorProto.FLOAT, ["batch", 1, 8, 8])
    feeds = images_of(3) | {"depth": images_of(1)["image"]}
    analysis = assert_exact(net.model(net.head(x, 8), more_inputs=[depth]), feeds)
    assert names(analysis) == ["residual"]


def test_the_smaller_of_two_branches_may_go_where_the_larger_reads_an_input_alone(new_net):
    net = new_net()
    large = net.conv(net.relu(net.conv("depth", 1, 8)), 8, 8)
    x = net.relu(net.node("Add", large, net.conv("image", 3, 8, 1), name="both read alone"))
    x = net.node(
        "Add", net.conv(net.relu(net.conv(net.node("Add", x, "wide"), 8, 8)), 8, 8), net.conv(x, 8, 8, 1), name="add"
    )
    more = [
        helper.make_tensor_value_info("depth", TensorProto.FLOAT, ["batch", 1, 8, 8]),
        helper.make_tensor_value_info("wide", TensorProto.FLOAT, ["batch", 8, 8, 8]),
    ]
    feeds = images_of(3) | {"depth": images_of(1)["image"], "wide": images_of(8)["image"]}
    analysis = assert_exact(net.model(net.head(x, 8), more_inputs=more), feeds)
    (branch,) = analysis.branches
    assert (branch.name, len(branch.layers)) == ("add", 1)


def test_an_output_of_the_model_that_is_a_sum_keeps_its_name(new_net):
    net = new_net()
    x = stem(net)
    y = net.node("Add", net.conv(x, 8, 8), x, name="last")
    model = net.model(y, result=("batch", 8, 8, 8))
    assert names(assert_exact(model, images_of(3))) == ["last"]
    model.graph.output.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", 8, 8, 8]))
    assert names(assert_exact(model, images_of(3))) == ["last"], "what is kept is an output too"


def test_a_sum_of_two_is_an_add_and_one_of_three_is_not(new_net):
    net = new_net()
    x = stem(net)
    x = net.node("Sum", x, net.conv(x, 8, 8), name="two")
    x = net.node("Sum", x, net.conv(x, 8, 8), net.conv(x, 8, 8, 1), name="three")
    assert names(assert_exact(net.model(net.head(x, 8)), images_of(3))) == ["two"]


def test_a_recurrent_layer_is_left_out_with_what_shapes_its_input(new_net):
    net = new_net()
    x = net.node("Transpose", net.node("Reshape", net.conv("image", 3, 6), net.constant([0, 6, 64])), perm=[2, 0, 1])
    weights = [net.constant(net.random.normal(size=shape) * 0.3) for shape in ((1, 24, 6), (1, 24, 6))]
    states = net.node("LSTM", net.node("Tanh", x), *weights, hidden_size=6)
    x = net.node("Add", net.node("Squeeze", states, net.constant([1])), x, name="around")
    logits = net.gemm(net.node("ReduceMean", x, axes=[0], keepdims=0), 6, 5)
    analysis = assert_exact(net.model(logits), images_of(3))
    assert [branch.layers for branch in analysis.branches] == [("LSTM4",)]


def test_a_sum_that_a_body_reads_is_left_out_as_well(new_net):
    net = new_net()
    x = stem(net)
    total = net.node("Add", net.conv(x, 8, 8), x, name="read inside")
    seen = net.node("Greater", net.node("ReduceMax", "image", keepdims=0), net.constant(1.0))
    bodies = [
        helper.make_graph([helper.make_node(op, [total], [op])], op, [], [helper.make_tensor_value_info(op, 1, None)])
        for op in ("Relu", "Abs")
    ]
    x = net.node("If", seen, then_branch=bodies[0], else_branch=bodies[1])
    assert names(assert_exact(net.model(net.head(x, 8)), images_of(3))) == ["read inside"]


def test_a_weight_that_a_branch_shares_with_the_rest_stays(new_net):
    net = new_net()
    x = stem(net)
    shared = net.constant(net.random.normal(size=(8, 8, 3, 3)) * 0.1)
    for name in ("first", "second"):
        x = net.node("Add", x, net.relu(net.node("Conv", x, shared, pads=[1] * 4)), name=name)
    analysis = assert_exact(net.model(net.head(x, 8)), images_of(3))
    assert names(analysis) == ["first", "second"]
    assert analysis.branches[0].parameters == 0


def test_a_branch_that_is_not_there_is_named_with_those_that_are(nets):
    prepared = prepare(analyse(nets["residual"]()), None, criterion="l1")
    genome = Genome(widths=prepared.analysis.search_space().dense().widths, dropped=("elsewhere",))
    with pytest.raises(ConfigError, match=r"^unknown branch 'elsewhere'; known: Add11, Add5$"):
        prepared.prune(genome, recovery="none")


def error_without(branch: str, model: onnx.ModelProto, images: np.ndarray) -> float:
    """Of the repaired outputs: the mean square, of the outputs' variance."""
    analysis = analyse(model)
    genome = analysis.search_space().without(analysis.search_space().dense(), branch)
    pruned = prepare(analysis, {"image": images}).prune(genome).model
    (seen,), (wanted,) = (outputs_of(each, {"image": images[:64]}) for each in (pruned, model))
    return float(((seen - wanted) ** 2).mean() / wanted.var())


@pytest.mark.parametrize("later", [True, False])
def test_what_a_dropped_branch_was_added_to_takes_over_what_it_can(later, new_net):
    """The known answer: of two linear ways from one tensor the other can be both, whichever the graph names first."""
    images = np.random.default_rng(3).normal(size=(256, 3, 8, 8)).astype(np.float32)
    net = new_net()
    x = stem(net)
    first = net.conv(x, 8, 6, 1) if not later else net.conv(net.conv(x, 8, 16, 1), 16, 6, 1)
    second = net.conv(x, 8, 6, 1) if later else net.conv(net.conv(x, 8, 16, 1), 16, 6, 1)
    total = net.relu(net.node("Add", first, second, name="add"))
    assert error_without("add", net.model(net.head(total, 6)), images) < 1e-4


def test_what_lies_before_a_dropped_branch_stays_bit_by_bit(nets, images):
    analysis = analyse(nets["inverted_residual"]())
    prepared = prepare(analysis, {"image": images})
    space = analysis.search_space()
    pruned = prepared.prune(space.without(space.dense(), analysis.branches[0].name)).model
    changed = {
        tensor.name
        for tensor in pruned.graph.initializer
        if not np.array_equal(onnx.numpy_helper.to_array(tensor), analysis.constants[tensor.name])
    }
    behind = [layer for layer in analysis.graph.layers if layer.node > analysis.branches[0].node]
    assert changed == {name for layer in behind for name in (layer.weight, layer.bias)}


@pytest.mark.parametrize("kept", [1.0, 0.5])
@pytest.mark.parametrize(("name", "dense"), [("resnet", 0.933), ("mobilenet", 0.923)])
def test_repair_keeps_a_network_alive_without_any_one_branch(name, dense, kept):
    prepared = example(name)
    space = prepared.analysis.search_space()
    validation = np.load(EXAMPLE / "validation.npz")
    feeds = {"x": validation["x"][:1000].astype(np.float32) / 255}
    for branch in prepared.analysis.branches:
        genome = space.without(space.uniform(kept), branch.name)
        cut, repaired = (
            outputs_of(prepared.prune(genome, recovery=recovery).model, feeds)[0].argmax(axis=1)
            for recovery in ("none", "ls")
        )
        accuracy, without = (float((found == validation["y"][:1000]).mean()) for found in (repaired, cut))
        assert accuracy > (dense - 0.04 if kept == 1 else 0.84)
        assert accuracy > without + 0.02
