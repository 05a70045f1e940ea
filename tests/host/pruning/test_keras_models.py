"""Networks as tf2onnx writes them: channels last, Pad nodes, MatMul + Add, sizes computed at run time (KERAS.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.pruning import analyse, prepare
from edgepareto.host.pruning.slice_model import kept_classes
from models.silence import outputs_of, relative_difference, silenced
from models.zeroed import zeroed
from numpy.typing import NDArray
from onnx import TensorProto

MODELS = Path(__file__).parents[2] / "models"
NAMES = sorted(path.name.removesuffix(".keras.onnx") for path in MODELS.glob("*.keras.onnx"))
HELD = {  # the first layer of each group that stays, though it reaches no output
    "attention": {"functional_1/conv2d_1/BiasAdd"},  # the stream that LayerNormalization averages
    "gru_loop": {"functional_1/conv1d_1_2/convolution"},  # read inside the Loop
}


def _load(name: str) -> onnx.ModelProto:
    return onnx.load(MODELS / f"{name}.keras.onnx")


def _samples(model: onnx.ModelProto, count: int) -> dict[str, NDArray[np.generic]]:
    """Words at random; other inputs as mixtures of a few patterns: in noise no channel could stand for another."""
    (entry,) = model.graph.input
    tensor = entry.type.tensor_type
    shape = tuple(dimension.dim_value for dimension in tensor.shape.dim[1:])
    random = np.random.default_rng(count)
    if tensor.elem_type == TensorProto.INT32:
        return {entry.name: random.integers(0, 50, (count, *shape), dtype=np.int32)}
    patterns = np.random.default_rng(0).normal(size=(16, *shape)) / 4
    return {entry.name: np.tensordot(random.normal(size=(count, 16)), patterns, 1).astype(np.float32)}


@pytest.mark.parametrize("name", NAMES)
def test_what_stays_whole_in_a_keras_model_is_known(name):
    model = _load(name)
    analysis = analyse(model)
    held = {group.name for group in analysis.frozen if not group.reason.startswith("reaches the model's output")}
    assert held == HELD.get(name, set())
    feeds = _samples(model, 3)
    assert relative_difference(outputs_of(analysis.model, feeds), outputs_of(model, feeds)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_half_of_every_group_of_a_keras_model_is_cut_exactly(name):
    model = _load(name)
    analysis = analyse(model)
    prepared = prepare(analysis, None, criterion="l1")
    genome = analysis.search_space().uniform(0.5)
    pruned = prepared.prune(genome, recovery="none").model
    onnx.checker.check_model(pruned, full_check=True)
    assert (pruned.graph.input, pruned.graph.output) == (model.graph.input, model.graph.output)
    assert pruned.metadata_props == model.metadata_props
    zeroed = silenced(analysis, kept_classes(analysis, prepared.importance, genome))
    for batch in (1, 4):  # it stays free
        feeds = _samples(model, batch)
        wanted = outputs_of(zeroed, feeds)
        assert relative_difference(wanted, outputs_of(model, feeds)) > 1e-2, "a test on silence proves nothing"
        assert relative_difference(outputs_of(pruned, feeds), wanted) < 1e-5


@pytest.mark.parametrize(("name", "count"), [("attention", 2), ("grouped", 1), ("mobilenet", 1), ("resnet", 3)])
def test_a_keras_model_can_lose_its_residual_branches_exactly(name, count):
    model = _load(name)
    analysis = analyse(model)
    assert len(analysis.branches) == count
    space = analysis.search_space()
    genome = space.without(space.dense(), *(branch.name for branch in analysis.branches))
    pruned = prepare(analysis, None, criterion="l1").prune(genome, recovery="none").model
    left = zeroed(analysis.model, {branch.output for branch in analysis.branches})
    feeds = _samples(model, 3)
    assert relative_difference(outputs_of(pruned, feeds), outputs_of(left, feeds)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_least_squares_brings_a_keras_model_nearer_to_the_dense_one(name):
    model = _load(name)
    analysis = analyse(model)
    prepared = prepare(analysis, _samples(model, 256), images=256)
    genome = analysis.search_space().uniform(0.3)
    feeds = _samples(model, 100)
    (dense,) = outputs_of(model, feeds)

    def error(recovery: str) -> float:
        (made,) = outputs_of(prepared.prune(genome, recovery=recovery).model, feeds)
        return float(np.square(made - dense).mean())

    assert error("ls") < error("none")
