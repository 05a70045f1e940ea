"""LSTM, GRU and RNN: units cut exactly in every form that ONNX has, states kept, accuracy recovered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.domain import Genome
from edgepareto.host.pruning import PreparedModel, analyse, prepare
from edgepareto.host.pruning.slice_model import kept_classes
from hypothesis import given, settings
from hypothesis import strategies as st
from models.motifs import motif_signals
from models.silence import outputs_of, relative_difference, silenced
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MODELS = Path(__file__).parents[2] / "models"
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, CHANNELS, FEATURES, UNITS, CLASSES = 7, 5, 6, 8, 4
Feeds = dict[str, NDArray[np.generic]]


class SequenceNet:
    """A linear layer on each step of "signal" (batch, STEPS, CHANNELS), then what a test adds, then a linear head."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, NDArray[np.generic]] = {}
        self.inputs = [helper.make_tensor_value_info("signal", TensorProto.FLOAT, ("batch", STEPS, CHANNELS))]
        turned = self.add("Transpose", "signal", perm=[1, 0, 2])
        self.steps = self.add("Relu", self.add("MatMul", turned, self.weight(CHANNELS, FEATURES)))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """The first output's name; the others end in _1, _2."""
        name = f"{op}{len(self.nodes)}"
        made = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, inputs, made, name=name, **attributes))
        return name

    def constant(self, values: object, dtype: str = "int64") -> str:
        name = f"c{len(self.tensors)}"
        self.tensors[name] = np.asarray(values, dtype=dtype)
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(self.random.normal(size=shape) / np.sqrt(shape[-1]), "float32")

    def recurrent(
        self,
        op: str,
        data: str = "",
        *,
        inputs: int = FEATURES,
        units: int = UNITS,
        bias: bool = True,
        lengths: bool = False,
        state: str = "",
        peepholes: bool = False,
        **attributes: object,
    ) -> str:
        """Every step's states; the last one ends in _1. state: the first one."""
        directions = 2 if attributes.get("direction") == "bidirectional" else 1
        rows = GATES[op] * units
        parts = [data or self.steps, self.weight(directions, rows, inputs), self.weight(directions, rows, units)]
        parts.append(self.weight(directions, 2 * rows) if bias else "")
        parts.append("lengths" if lengths else "")
        parts.append(state)
        if peepholes:
            parts += ["", self.weight(directions, 3 * units)]
        if lengths:
            self.inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ("batch",)))
        return self.add(op, *parts, outputs=2, hidden_size=units, **attributes)

    def side_by_side(self, states: str) -> str:
        turned = self.add("Transpose", states, perm=[0, 2, 1, 3])
        return self.add("Reshape", turned, self.constant([0, 0, -1]))

    def model(self, steps: str, features: int) -> onnx.ModelProto:
        """steps: (steps, batch, features); their mean is classified."""
        return self.ending(self.add("ReduceMean", steps, axes=[0], keepdims=0), features)

    def ending(self, read: str, features: int) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("MatMul", [read, self.weight(features, CLASSES)], ["logits"], name="head"))
        tensors = [numpy_helper.from_array(value, name) for name, value in self.tensors.items()]
        result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", CLASSES))
        graph = helper.make_graph(self.nodes, "net", self.inputs, [result], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def plain(op: str, **options: object) -> onnx.ModelProto:
    net = SequenceNet()
    states = net.recurrent(op, **options)  # type: ignore[arg-type]
    return net.model(net.add("Squeeze", states, net.constant([1])), UNITS)


def with_constant_state() -> onnx.ModelProto:
    """One first state for all samples needs a fixed batch: here 4."""
    net = SequenceNet()
    states = net.recurrent("LSTM", state=net.weight(1, 4, UNITS))
    model = net.model(net.add("Squeeze", states, net.constant([1])), UNITS)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    return model


def encoder_and_decoder() -> onnx.ModelProto:
    """The decoder starts from the encoder's last state, so their units are the same."""
    net = SequenceNet()
    encoder = net.recurrent("GRU", linear_before_reset=1)
    states = net.recurrent("GRU", state=f"{encoder}_1", linear_before_reset=1)
    return net.model(net.add("Squeeze", states, net.constant([1])), UNITS)


def two_layers_in_both_directions() -> onnx.ModelProto:
    net = SequenceNet()
    lower = net.side_by_side(net.recurrent("LSTM", direction="bidirectional"))
    upper = net.recurrent("LSTM", lower, inputs=2 * UNITS, units=6, direction="bidirectional")
    return net.model(net.side_by_side(upper), 12)


def directions_split() -> onnx.ModelProto:
    net = SequenceNet()
    states = net.recurrent("GRU", direction="bidirectional")
    first = net.add("Split", states, net.constant([1, 1]), outputs=2, axis=1)
    parts = [net.add("Squeeze", name, net.constant([1])) for name in (first, f"{first}_1")]
    return net.model(net.add("Concat", *parts, axis=2), 2 * UNITS)


def directions_picked() -> onnx.ModelProto:
    """The forward states by Slice, the backward ones by Gather, through other axes that are cut first."""
    net = SequenceNet()
    states = net.recurrent("LSTM", direction="bidirectional")
    later = net.add("Slice", states, *(net.constant([number]) for number in (2, 99, 0)))
    one = net.add("Slice", later, *(net.constant([number]) for number in (0, 1, 1)))
    forward = net.add("Squeeze", one, net.constant([1]))
    backward = net.add("Gather", later, net.constant(1), axis=1)
    return net.model(net.add("Concat", forward, backward, axis=2), 2 * UNITS)


def last_states() -> onnx.ModelProto:
    net = SequenceNet()
    last = f"{net.recurrent('LSTM', direction='bidirectional')}_1"
    turned = net.add("Transpose", last, perm=[1, 0, 2])
    return net.ending(net.add("Reshape", turned, net.constant([-1, 2 * UNITS])), 2 * UNITS)


def directions_added() -> onnx.ModelProto:
    """Summed, unit i of both directions is one channel."""
    net = SequenceNet()
    states = net.recurrent("RNN", direction="bidirectional")
    return net.model(net.add("ReduceSum", states, net.constant([1]), keepdims=0), UNITS)


BOTH = "bidirectional"
NETS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "LSTM": lambda: plain("LSTM"),
    "LSTM with peepholes": lambda: plain("LSTM", peepholes=True),
    "LSTM with lengths": lambda: plain("LSTM", lengths=True, direction="reverse"),
    "LSTM with a constant state": with_constant_state,
    "GRU, reset first": lambda: plain("GRU"),
    "GRU, reset last": lambda: plain("GRU", linear_before_reset=1, lengths=True),
    "GRU, other activations": lambda: plain("GRU", activations=["HardSigmoid", "Softsign"]),
    "RNN": lambda: plain("RNN"),
    "RNN without bias": lambda: plain("RNN", bias=False, direction="reverse"),
    "encoder and decoder": encoder_and_decoder,
    "two layers in both directions": two_layers_in_both_directions,
    "directions split": directions_split,
    "directions picked": directions_picked,
    "last states": last_states,
    "directions added": directions_added,
}


def samples(model: onnx.ModelProto, count: int, seed: int = 1) -> Feeds:
    random = np.random.default_rng(seed)
    feeds: Feeds = {"signal": random.normal(size=(count, STEPS, CHANNELS)).astype(np.float32)}
    if any(value.name == "lengths" for value in model.graph.input):
        feeds["lengths"] = random.integers(2, STEPS + 1, count).astype(np.int32)
    return feeds


@cache
def prepared(name: str) -> PreparedModel:
    model = NETS[name]()
    return prepare(analyse(model), samples(model, 256))


def distance(model: onnx.ModelProto, other: onnx.ModelProto) -> float:
    feeds = samples(model, 4 if model.graph.input[0].type.tensor_type.shape.dim[0].dim_value else 64, seed=2)
    (one,), (two,) = outputs_of(model, feeds), outputs_of(other, feeds)
    return float(np.square(one - two).mean())


@pytest.mark.parametrize("name", NETS)
def test_units_that_are_zero_are_cut_without_a_trace(name: str):
    model = NETS[name]()
    analysis = analyse(model)
    assert all("'logits'" in group.reason for group in analysis.frozen)
    ranked = prepare(analysis, None, criterion="l1")
    genome = analysis.search_space().uniform(0.5)
    pruned = ranked.prune(genome, recovery="none")
    onnx.checker.check_model(pruned.model, full_check=True)
    assert pruned.model.graph.output == model.graph.output
    feeds = samples(model, 4)
    wanted = outputs_of(silenced(analysis, kept_classes(analysis, ranked.importance, genome)), feeds)
    assert relative_difference(wanted, outputs_of(model, feeds)) > 1e-2, "a test on silence proves nothing"
    assert relative_difference(outputs_of(pruned.model, feeds), wanted) < 1e-5


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("two layers in both directions", [1, 2, 2]),
        ("directions split", [1, 2]),
        ("directions picked", [1, 2]),
        ("last states", [1, 2]),
        ("directions added", [1, 1]),
    ],
)
def test_each_direction_loses_units_of_its_own_where_the_graph_keeps_them_apart(name: str, cells: list[int]):
    ready = prepared(name)
    assert [len(orders) for orders in ready.importance] == cells
    pruned = ready.prune(ready.analysis.search_space().uniform(0.5), recovery="none").model
    kept = next(helper.get_node_attr_value(n, "hidden_size") for n in pruned.graph.node if n.op_type in GATES)
    assert kept == UNITS // 2
    for group, orders in zip(ready.analysis.groups, ready.importance, strict=True):
        assert group.channels == sum(len(order) for order in orders)
        if len(orders) == 2:
            assert orders[0].tolist() != orders[1].tolist()


def test_a_state_that_the_caller_holds_keeps_its_width_and_says_why():
    net = SequenceNet()
    net.inputs.append(helper.make_tensor_value_info("memory", TensorProto.FLOAT, (1, "batch", UNITS)))
    states = net.recurrent("GRU", state="memory")
    analysis = analyse(net.model(net.add("Squeeze", states, net.constant([1])), UNITS))
    assert [group.channels for group in analysis.groups] == [FEATURES]
    reasons = {group.layers[0]: group.reason for group in analysis.frozen}
    assert reasons[states] == "starts from the model's input 'memory', a state whose width must stay"


def test_a_layout_that_no_runtime_runs_is_left_alone_and_says_why():
    net = SequenceNet()
    turned = net.add("Transpose", net.steps, perm=[1, 0, 2])
    states = net.recurrent("LSTM", turned, layout=1)
    last = net.add("Reshape", f"{states}_1", net.constant([-1, UNITS]))
    analysis = analyse(net.ending(last, UNITS))
    assert analysis.groups == ()
    assert "stores the batch first (layout 1), which ONNX Runtime cannot run" in analysis.frozen[0].reason


def test_work_and_size_count_both_weights_of_every_gate_at_every_step():
    analysis = analyse(NETS["two layers in both directions"]())
    lower, upper = (2 * 4 * units * (inputs + units) for units, inputs in ((UNITS, FEATURES), (6, 2 * UNITS)))
    linear = CHANNELS * FEATURES + 12 * CLASSES
    assert analysis.parameters == lower + upper + 2 * 8 * (UNITS + 6) + linear
    assert analysis.macs == pytest.approx(STEPS * (lower + upper + CHANNELS * FEATURES) + 12 * CLASSES, rel=0.05)


@pytest.mark.parametrize("criterion", ["obs", "activation"])
def test_a_unit_that_nobody_reads_goes_first(criterion: str):
    model = NETS["LSTM"]()
    analysis = analyse(model)
    lstm = next(node for node in analysis.model.graph.node if node.op_type == "LSTM")
    _silence(model, {lstm.input[2]: (..., 3), "c5": (3,)})  # of what gates and head read
    order = prepare(analyse(model), samples(model, 64), criterion=criterion).importance[1][0]
    assert order[-1] == 3


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_a_unit_whose_gates_are_shut_off_goes_first(criterion: str):
    model = NETS["GRU, reset last"]()
    node = next(node for node in model.graph.node if node.op_type == "GRU")
    rows = (0, [5, 5 + UNITS, 5 + 2 * UNITS])
    _silence(model, {node.input[1]: rows, node.input[2]: rows})
    assert prepare(analyse(model), None, criterion=criterion).importance[1][0][-1] == 5


@pytest.mark.parametrize("name", NETS)
def test_repaired_networks_are_nearer_to_the_dense_one(name: str):
    ready = prepared(name)
    model, genome = ready.analysis.model, ready.analysis.search_space().uniform(0.5)
    none, least_squares = (distance(model, ready.prune(genome, recovery=way).model) for way in ("none", "ls"))
    assert least_squares < 0.7 * none


def test_nothing_is_touched_before_the_first_cut():
    ready = prepared("two layers in both directions")
    analysis = ready.analysis
    dense = analysis.search_space().dense()
    upper_only = Genome(widths=(*dense.widths[:-1], 6))
    arrays = {tensor.name: tensor for tensor in ready.prune(upper_only).model.graph.initializer}
    lower, upper = (node.input[1:4] for node in analysis.model.graph.node if node.op_type == "LSTM")
    for name in lower:
        assert np.array_equal(numpy_helper.to_array(arrays[name]), analysis.constants[name])
    assert all(numpy_helper.to_array(arrays[name]).shape != analysis.constants[name].shape for name in upper)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_choice_of_widths_is_a_valid_model(data: st.DataObject):
    name = data.draw(st.sampled_from(["two layers in both directions", "encoder and decoder", "directions picked"]))
    recovery = data.draw(st.sampled_from(["none", "moment", "ls"]))
    ready = prepared(name)
    genes = ready.analysis.search_space().genes
    pruned = ready.prune(Genome(widths=tuple(data.draw(st.sampled_from(g.widths)) for g in genes)), recovery=recovery)
    onnx.checker.check_model(pruned.model, full_check=True)
    assert np.isfinite(outputs_of(pruned.model, samples(pruned.model, 3))[0]).all()


@pytest.mark.parametrize(
    ("name", "at_seven_tenths", "at_half"),
    [("motif_lstm", 92, 84), ("motif_gru", 95, 90)],
)
def test_trained_networks_keep_their_accuracy_only_if_their_gates_are_repaired(
    name: str, at_seven_tenths: float, at_half: float
):
    """Per cent of 4,000 signals told rightly, dense 96 and 98; the ratio on every group, 512 signals to repair with."""
    model = onnx.load(MODELS / f"{name}.onnx")
    ready = prepare(analyse(model), {"signal": motif_signals(512, seed=3)[0]})
    signals, labels = motif_signals(4000, seed=2)

    def accuracy(kept: float, recovery: str) -> float:
        pruned = ready.prune(ready.analysis.search_space().uniform(kept), recovery=recovery)
        return float(100 * (outputs_of(pruned.model, {"signal": signals})[0].argmax(axis=1) == labels).mean())

    for kept, least in ((0.7, at_seven_tenths), (0.5, at_half)):
        none, moment, least_squares = (accuracy(kept, recovery) for recovery in ("none", "moment", "ls"))
        assert max(none, moment) + 2 < least_squares
        assert least_squares > least


def _silence(model: onnx.ModelProto, places: Mapping[str, object]) -> None:
    """Make parts of initializers zero, in place."""
    for tensor in model.graph.initializer:
        if tensor.name in places:
            values = numpy_helper.to_array(tensor).copy()
            values[places[tensor.name]] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
