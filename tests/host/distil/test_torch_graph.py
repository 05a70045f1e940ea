"""The trainable graph says what ONNX Runtime says: every operator it knows, every exported network, random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.pruning import analyse, prepare
from edgepareto.host.pruning.inference import ORT_ERRORS
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from models.catalogue import FIXTURES, Fixture
from models.random_graphs import feeds_of, random_net
from models.silence import outputs_of
from onnx import TensorProto, helper

from tests.host.export.tflite.test_operators import CASES, IMAGE, Case, case, feeds_for, model_of

torch = pytest.importorskip("torch")
from edgepareto.host.distil.registry import OPERATORS  # noqa: E402
from edgepareto.host.distil.torch_graph import TorchGraph  # noqa: E402
from edgepareto.host.distil.unsupported import Unsupported  # noqa: E402

EXAMPLES = Path(__file__).parents[3] / "examples" / "fashion_mnist"
ROUNDING = 1e-5
MISSING = {"Attention", "GatherND", "OneHot"}  # no network of ours has them
REFUSED = {  # in part
    "CumSum with exclusive", "MeanVarianceNormalization across", "Pad with mode", "RNN with activations",
    "Resize with mode",
}  # fmt: skip


def parity(model: onnx.ModelProto, feeds: dict[str, np.ndarray], outputs: int | None = None) -> float:
    """The largest difference of an output, relative to its largest value; infinite where shapes differ."""
    names = [value.name for value in model.graph.output][:outputs]
    with torch.no_grad():
        made = TorchGraph(model, names).run({name: torch.from_numpy(value) for name, value in feeds.items()})
    worst = 0.0
    for name, wanted in zip(names, outputs_of(model, feeds), strict=False):
        seen = made[name].numpy()
        if (seen.shape, seen.dtype) != (wanted.shape, wanted.dtype):
            return float("inf")
        apart = np.abs(seen.astype(np.float64) - wanted)
        worst = max(worst, float(apart.max(initial=0) / max(np.abs(wanted.astype(np.float64)).max(initial=0), 1e-3)))
    return worst


@pytest.mark.parametrize("one", [one for one in CASES if one.op not in MISSING], ids=str)
def test_an_operator_gives_what_onnx_runtime_gives_or_is_refused(one: Case):
    try:
        # Of equal values either place is right for TopK.
        found = parity(model_of(one), feeds_for(one, 0), 1 if one.op == "TopK" else None)
    except Unsupported as told:
        found = next(0.0 for refused in REFUSED if str(told).startswith(refused))
    assert found <= ROUNDING


@pytest.mark.parametrize(
    "one",
    [
        case("Conv", (2, 4, 9, 8), np.ones((6, 2, 3, 2), np.float32), group=2, strides=[2, 1], dilations=[2, 3]),
        case("Conv", (2, 4, 9, 8), np.ones((4, 4, 3, 3), np.float32), pads=[0, 1, 2, 0]),
        *(
            case(op, *inputs, auto_pad=mode, strides=[2, 3], **more)
            for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
            for op, inputs, more in (
                ("Conv", ((1, 3, 8, 7), np.ones((2, 3, 3, 2), np.float32)), {}),
                ("MaxPool", ((1, 3, 8, 7),), {"kernel_shape": [3, 2]}),
                ("AveragePool", ((1, 3, 8, 7),), {"kernel_shape": [3, 2]}),
            )
        ),
        *(
            case(op, (1, 3, size, size), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
            for op in ("MaxPool", "AveragePool")
            for size in (7, 8)
        ),
        case(
            "ConvTranspose", (1, 4, 5, 4), np.ones((4, 3, 3, 3), np.float32), np.ones(6, np.float32),
            group=2, strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 2],
        ),
        case("ConvTranspose", (1, 2, 5), np.ones((2, 3, 4), np.float32), strides=[2], output_shape=[9]),
        case("ConvTranspose", (1, 2, 5), np.ones((2, 3, 4), np.float32), strides=[2], auto_pad="SAME_UPPER"),
        case("BatchNormalization", IMAGE, *(np.linspace(0.5, 2, 6, dtype=np.float32),) * 4),
        case("LRN", IMAGE, size=5, alpha=0.5, beta=0.6, bias=2.0),
        case("Softmax", (2, 3, 4), opset=11, axis=1),
        case("Clip", IMAGE, opset=6, min=-0.5, max=0.5),
    ],
    ids=str,
)  # fmt: skip
def test_a_layer_places_its_windows_as_onnx_runtime_does(one: Case):
    assert parity(model_of(one), feeds_for(one, 0)) <= ROUNDING


@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_an_exported_network_gives_what_onnx_runtime_gives_whole_and_pruned(fixture: Fixture):
    model = onnx.load(fixture.path)
    feeds = fixture.architecture.feeds(batch=fixture.architecture.fixed_batch or 3)
    assert parity(model, feeds) <= ROUNDING
    analysis = analyse(model)
    genome = analysis.search_space().uniform(0.5)
    assert parity(prepare(analysis, None, criterion="l1").prune(genome, recovery="none").model, feeds) <= ROUNDING


@settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
@given(data=st.data())
def test_any_network_gives_what_onnx_runtime_gives(data: st.DataObject):
    net = random_net(lambda options: data.draw(st.integers(0, options - 1)))
    feeds = feeds_of(net.model, net.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 2)
    try:
        onnx.checker.check_model(net.model, full_check=True)
        outputs = outputs_of(net.model, feeds)
    except (*ORT_ERRORS, onnx.shape_inference.InferenceError):
        outputs = []
    assume(outputs and all(np.isfinite(output).all() for output in outputs))
    assert parity(net.model, feeds) <= 10 * ROUNDING


@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_weights_that_were_changed_are_written_where_they_were(name: str):
    model = onnx.load(EXAMPLES / f"{name}.onnx")
    graph = TorchGraph(model, ["logits"])
    with torch.no_grad():
        for value in graph.parameters.values():
            value.mul_(1.01)
    written = graph.written()
    feeds = {"x": np.random.default_rng(0).random((4, 1, 28, 28), dtype=np.float32)}
    with torch.no_grad():
        made = graph.run({"x": torch.from_numpy(feeds["x"])})["logits"].numpy()
    assert np.abs(outputs_of(written, feeds)[0] - made).max() <= ROUNDING * np.abs(made).max()
    layouts = [[(t.name, t.data_type, tuple(t.dims)) for t in each.graph.initializer] for each in (model, written)]
    assert layouts[0] == layouts[1]
    assert written.graph.node == model.graph.node
    assert {tuple(t.dims) for t in model.graph.initializer if t.name not in graph.parameters} <= {(), (1,), (2,)}


def test_an_operator_that_is_not_known_is_named():
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Magic", ["a"], ["y"], domain="com.example")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "odd", ends[:1], ends[1:]))
    with pytest.raises(Unsupported, match=r"^com\.example\.Magic$"):
        TorchGraph(model, ["y"])
    assert set(MISSING).isdisjoint(OPERATORS)
