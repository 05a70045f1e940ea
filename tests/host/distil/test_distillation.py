from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.distil import DistilSettings
from edgepareto.host.errors import DataError, EvaluationError
from edgepareto.host.pruning import analyse, prepare
from models.catalogue import Fixture, fixtures_of
from onnx import numpy_helper

torch = pytest.importorskip("torch")
from edgepareto.host.distil.distillation import Distilled, distil  # noqa: E402
from edgepareto.host.distil.teacher import Teacher  # noqa: E402

EXAMPLES = Path(__file__).parents[3] / "examples" / "fashion_mnist"
SHORT = DistilSettings(steps=80, batch=32)


def images(count: int, first: int = 0) -> dict[str, np.ndarray]:
    with np.load(EXAMPLES / "calibration.npz") as loaded:
        return {"x": loaded["x"][first : first + count].astype(np.float32) / np.float32(255)}


def pruned(model: onnx.ModelProto, inputs: dict[str, np.ndarray], ratio: float = 0.4) -> onnx.ModelProto:
    analysis = analyse(model)
    return prepare(analysis, inputs, images=256).prune(analysis.search_space().uniform(ratio)).model


@pytest.fixture(scope="module")
def dense() -> onnx.ModelProto:
    return onnx.load(EXAMPLES / "mobilenet.onnx")


@pytest.fixture(scope="module")
def teacher(dense: onnx.ModelProto) -> Teacher:
    return Teacher.of(dense, images(256), images(64, 256), has_classes=True)


@pytest.fixture(scope="module")
def candidate(dense: onnx.ModelProto) -> onnx.ModelProto:
    return pruned(dense, images(256))


@pytest.fixture(scope="module")
def distilled(candidate: onnx.ModelProto, teacher: Teacher) -> Distilled:
    return distil(candidate, teacher, SHORT)


def test_distilling_brings_a_pruned_model_nearer_to_the_dense_one_in_the_same_graph(
    candidate: onnx.ModelProto, distilled: Distilled
):
    assert distilled.helped
    assert distilled.after < 0.9 * distilled.before
    assert distilled.model.graph.node == candidate.graph.node
    layouts = [
        [(t.name, t.data_type, tuple(t.dims)) for t in m.graph.initializer] for m in (distilled.model, candidate)
    ]
    assert layouts[0] == layouts[1]


def test_the_same_seed_gives_the_same_bits_and_torch_is_left_as_it_was(
    candidate: onnx.ModelProto, teacher: Teacher, distilled: Distilled
):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(99)
    try:
        assert distil(candidate, teacher, SHORT).model == distilled.model
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert distil(candidate, teacher, replace(SHORT, seed=1)).model != distilled.model


def test_a_training_that_makes_it_worse_gives_the_model_back_unchanged(candidate: onnx.ModelProto, teacher: Teacher):
    found = distil(candidate, teacher, replace(SHORT, learning_rate=0.3, steps=3))
    assert not found.helped
    assert found.after >= found.before
    assert found.model == candidate


def test_labels_count_where_they_are_given_a_weight(candidate: onnx.ModelProto, teacher: Teacher, distilled: Distilled):
    wrong = replace(teacher, labels=np.zeros(320, np.int64))  # what they teach can be seen
    assert distil(candidate, wrong, SHORT).model == distilled.model
    taught = distil(candidate, wrong, replace(SHORT, label_weight=5.0))
    assert taught.helped
    assert taught.before > 10 * distilled.before, "the cross-entropy counts in what is told as well"


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_shares_at_the_end_teach_as_the_logits_before_them_do(
    candidate: onnx.ModelProto, dense: onnx.ModelProto, teacher: Teacher, op: str, axis: int
):
    def ending(model: onnx.ModelProto) -> onnx.ModelProto:
        ended = onnx.ModelProto()
        ended.CopyFrom(model)
        ended.graph.node.append(onnx.helper.make_node(op, ["logits"], ["shares"], axis=axis))
        ended.graph.output[0].name = "shares"
        return ended

    settings = replace(SHORT, steps=4)
    plain = distil(candidate, teacher, settings)
    ended = distil(
        ending(candidate), Teacher.of(ending(dense), images(256), images(64, 256), has_classes=True), settings
    )
    assert (ended.before, ended.after) == pytest.approx((plain.before, plain.after), rel=1e-3)


@pytest.mark.parametrize(
    "fixture", fixtures_of("unet_resize", "multi_in_out", "ghostnet", "gru_1", "streaming_audio", "mlp")[::2], ids=str
)
def test_any_kind_of_network_is_distilled(fixture: Fixture):
    """No classes, several inputs and outputs, a fixed batch, gates, a state."""
    dense = onnx.load(fixture.path)
    inputs, judges = (
        {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        for rows in ([fixture.architecture.feeds(seed=seed) for seed in seeds] for seeds in (range(24), range(24, 40)))
    )
    model = pruned(dense, inputs, 0.6)
    found = distil(model, Teacher.of(dense, inputs, judges, has_classes=False), DistilSettings(steps=8, batch=8))
    assert np.isfinite([found.before, found.after]).all()
    assert found.model.graph.node == model.graph.node
    assert found.judged_by == 16


def test_too_few_samples_an_unknown_operator_and_a_frozen_model_are_refused_in_one_line(
    dense: onnx.ModelProto, candidate: onnx.ModelProto, teacher: Teacher
):
    with pytest.raises(DataError, match="15 samples are too few to distil on"):
        Teacher.of(dense, images(15), images(64), has_classes=True)
    odd = onnx.ModelProto()
    odd.CopyFrom(candidate)
    odd.graph.node[1].op_type = "Asinh"
    with pytest.raises(EvaluationError, match=r"^not distilled: training lacks the operator Asinh$"):
        distil(odd, teacher, SHORT)
    halves = onnx.ModelProto()
    halves.CopyFrom(candidate)
    for tensor in halves.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    with pytest.raises(EvaluationError, match="no layer has weights of 32-bit floats"):
        distil(halves, teacher, SHORT)


def test_a_graph_that_torch_computes_otherwise_is_not_trained(
    candidate: onnx.ModelProto, teacher: Teacher, monkeypatch
):
    from edgepareto.host.distil import registry

    monkeypatch.setitem(registry.OPERATORS, "Clip", lambda node, inputs: inputs[0])
    with pytest.raises(EvaluationError, match=r"^not distilled: torch gives other outputs than ONNX Runtime, relative"):
        distil(candidate, teacher, SHORT)
