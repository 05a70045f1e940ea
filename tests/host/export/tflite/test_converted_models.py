"""A file gives what ONNX Runtime gives, or there is none: of what exporters write, known architectures, random nets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.export import input_tensors
from edgepareto.host.export.parity import LARGEST_ERROR, measure_parity, onnx_outputs
from edgepareto.host.export.tflite import LiteModel, UnsupportedModel, to_tflite
from edgepareto.host.pruning.inference import ORT_ERRORS
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from models.random_graphs import feeds_of, random_net
from models.silence import outputs_of, relative_difference
from onnx import TensorProto, helper, numpy_helper

MODELS = Path(__file__).parents[3] / "models"
EXAMPLES = Path(__file__).parents[4] / "examples"
DOCS = Path(__file__).parents[4] / "docs" / "tflite.md"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
ROUNDING = 1e-5
EXPRESSED = sorted([*MODELS.glob("*.onnx"), *EXAMPLES.glob("*/*.onnx")])
# As their makers publish them; without weights, so that they take theirs by chance. Three more are very large.
ARCHITECTURES = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")


def closed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every open size is a number: one sample, eight of anything else."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    weights = {tensor.name for tensor in copy.graph.initializer}
    for value in copy.graph.input:
        for place, axis in enumerate(value.type.tensor_type.shape.dim):
            if value.name not in weights and not axis.HasField("dim_value"):
                axis.dim_value = 1 if place == 0 else 8
    return copy


def feed_of(model: onnx.ModelProto, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        tensor.name: random.normal(size=tensor.shape).astype(tensor.dtype)
        if tensor.dtype == np.float32
        else random.integers(0, 4, tensor.shape).astype(tensor.dtype)
        for tensor in input_tensors(model)
    }


def relative_error(model: onnx.ModelProto, lite: LiteModel, feeds: list[dict[str, np.ndarray]]) -> float:
    return measure_parity(lite, feeds, onnx_outputs(model.SerializeToString(), feeds)).relative


@pytest.mark.parametrize("path", EXPRESSED, ids=lambda path: path.stem)
def test_a_file_gives_what_onnx_runtime_gives(path: Path):
    model = closed(onnx.load(path))
    feeds = [feed_of(model, seed) for seed in range(2)]
    assert relative_error(model, to_tflite(model), feeds) <= ROUNDING


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_known_architectures_with_weights_by_chance(name: str):
    model = with_random_weights(onnx.load(LIGHT / f"light_{name}.onnx"))
    lite = to_tflite(model)
    assert relative_error(model, lite, [feed_of(model, 0)]) <= ROUNDING


def test_the_table_of_networks_in_the_docs_has_them_all_and_what_these_tests_demand():
    rows = [line.split("|")[1:4] for line in DOCS.read_text().partition("### Networks")[2].splitlines() if "|" in line]
    told = {(name.strip(), one): float(error) for name, who, error in rows[2:] for one in who.strip().split(", ")}
    files = {tuple(path.name.split(".")[:2]) for path in MODELS.glob("*.*.onnx")}
    assert set(told) == files | {(path.stem, "onnx") for path in LIGHT.glob("light_*.onnx")}
    assert max(told.values()) <= ROUNDING


def counting_loop(trips: int | str, *, last: int) -> onnx.ModelProto:
    """x doubled and kept until the `last` round says stop. trips: how many at most, or the input that tells."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["a", "a"], ["twice"]),
            helper.make_node("Less", ["round", "last"], ["more"]),
            helper.make_node("Identity", ["twice"], ["kept"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, ()),
            helper.make_tensor_value_info("on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, (1, 3)),
        ],
        [
            helper.make_tensor_value_info("more", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("twice", TensorProto.FLOAT, (1, 3)),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, (1, 3)),
        ],
        [numpy_helper.from_array(np.array(last, np.int64), "last")],
    )
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3))]
    constants = []
    if isinstance(trips, str):
        inputs.append(helper.make_tensor_value_info(trips, TensorProto.INT64, ()))
    else:
        constants.append(numpy_helper.from_array(np.array(trips, np.int64), "trips"))
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", "", "x"], ["y", "rows"], body=body)],
        "counting",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "rows")],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(("trips", "last"), [(4, 99), (200, 2), (2**62, 5), (1, 0)])
def test_a_loop_whose_steps_are_known_is_written_out(trips: int, last: int):
    model = counting_loop(trips, last=last)
    assert relative_error(model, to_tflite(model), [feed_of(model, 0)]) == 0


@pytest.mark.parametrize(("trips", "last"), [("trips", 2), (1000, 999), (2**62, 2**61)])
def test_a_loop_whose_steps_are_told_at_run_time_or_too_many_is_named(trips: int | str, last: int):
    with pytest.raises(
        UnsupportedModel, match=r"net.onnx: LiteRT cannot express Loop; run it with ONNX Runtime"
    ) as why:
        to_tflite(counting_loop(trips, last=last), "net.onnx")
    assert why.value.operators == {"Loop": 1}


@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(st.data())
def test_of_any_network_there_is_a_file_that_gives_the_same_or_a_list_of_what_is_missing(data: st.DataObject):
    model = closed(random_net(lambda options: data.draw(st.integers(0, options - 1))).model)
    try:
        onnx.checker.check_model(model, full_check=True)
        feeds = feeds_of(model, 1)
        expected = outputs_of(model, feeds)
    except (*ORT_ERRORS, onnx.shape_inference.InferenceError):
        expected = []
    assume(expected)
    assume(all(np.isfinite(output).all() for output in expected))
    try:
        lite = to_tflite(model)
    except UnsupportedModel:
        return
    error = relative_error(model, lite, [feeds])
    if error > ROUNDING:  # what cancels out, or is divided by the root of an epsilon, is left to the gate
        divides = any(node.op_type.endswith("Normalization") for node in model.graph.node)
        assert error <= (LARGEST_ERROR["fp32"] if divides else 10 * unsteadiness(model, feeds))


def unsteadiness(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> float:
    """How far apart ONNX Runtime's own answers are to inputs of which a rounding or two is another."""
    random = np.random.default_rng(0)
    wanted = outputs_of(model, feeds)
    worst = 0.0
    for _ in range(4):
        shifts = {name: random.uniform(-1, 1, value.shape) * 2.0**-22 for name, value in feeds.items()}
        moved = {name: (value * (1 + shifts[name])).astype(value.dtype) for name, value in feeds.items()}
        worst = max(worst, relative_difference(outputs_of(model, moved), wanted))
    return worst


def with_random_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """In place of the one number that ConstantOfShape gives; logits instead of probabilities, which hide errors."""
    random = np.random.default_rng(0)
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            nodes.append(node)
            continue
        shape = [int(size) for size in shapes[node.input[0]]]
        fan_in = max(int(np.prod(shape[1:])), 1)
        spread = np.sqrt(2 / fan_in) if len(shape) > 1 else 0.1
        values = random.normal(size=shape) * spread
        if len(shape) == 1:
            values = np.abs(values) + 0.9  # variances among them
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    last = nodes[-1]
    if last.op_type == "Softmax":
        nodes.pop()
        model.graph.output[0].name = last.input[0]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    return model
