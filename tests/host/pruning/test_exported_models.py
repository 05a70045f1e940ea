"""Networks as both torch exporters write them, and the nine architectures that ship with ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.pruning import Analysis, analyse, prepare
from edgepareto.host.pruning.slice_model import kept_classes
from models.catalogue import FIXTURES, Fixture
from models.silence import outputs_of, relative_difference, silenced
from onnx import numpy_helper

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
RANDOM_NAMES = sorted(path.stem for path in LIGHT.glob("light_*.onnx"))
# AlexNet, VGG and ZFNet have hidden layers of 4096 behind up to 25,088 inputs: 0.4 GB of weights. 250 neurons are cut
# in the same way; no other layer has as many, so shares are still counted with 4096.
HIDDEN, HIDDEN_HERE = 4096, 250
FREE = 0.9  # of the channels that reach no output, this share can be pruned at least
# A stream under LayerNorm keeps its width (docs/pruning.md), and a state that the caller holds.
NARROWER = {
    "cnn_transformer": 0.85,
    "convnext": 0.84,
    "streaming_audio": 0.7,
    "transformer_encoder": 0.6,
    "vit_explicit": 0.75,
    "vit_sdpa": 0.75,
}


def free_share(analysis: Analysis) -> float:
    """Prunable channels as a share of all but those that reach an output (a classifier's, directly or by Softmax)."""
    free = sum(HIDDEN if group.channels == HIDDEN_HERE else group.channels for group in analysis.groups)
    outputs = {value.name for value in analysis.outputs}
    held = sum(group.channels for group in analysis.frozen if not any(f"'{name}'" in group.reason for name in outputs))
    return free / (free + held)


@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_half_of_every_group_is_cut_exactly(fixture: Fixture):
    architecture = fixture.architecture
    batch = architecture.fixed_batch or 3
    model = onnx.load(fixture.path)
    analysis = analyse(model)
    assert free_share(analysis) >= NARROWER.get(architecture.name, FREE)
    prepared = prepare(analysis, None, criterion="l1")
    genome = analysis.search_space().uniform(0.5)
    pruned = prepared.prune(genome, recovery="none")
    onnx.checker.check_model(pruned.model, full_check=True)
    assert pruned.model.graph.input == model.graph.input
    assert pruned.model.graph.output == model.graph.output
    feeds = architecture.feeds(batch=batch)
    dense = outputs_of(model, feeds)
    assert relative_difference(outputs_of(analysis.model, feeds), dense) < 1e-5
    wanted = outputs_of(silenced(analysis, kept_classes(analysis, prepared.importance, genome)), feeds)
    assert relative_difference(wanted, dense) > 1e-2, "a test on silence proves nothing"
    assert relative_difference(outputs_of(pruned.model, feeds), wanted) < 1e-5


def randomised(path: Path, seed: int) -> onnx.ModelProto:
    """The weights are ConstantOfShape nodes of one value: here noise of He's variance, so that channels differ.

    Hidden layers of HIDDEN neurons have HIDDEN_HERE.
    """
    model = onnx.load(path)
    random = np.random.default_rng(seed)
    sizes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in sizes:
            nodes.append(node)
            continue
        shape = tuple(HIDDEN_HERE if size == HIDDEN else int(size) for size in sizes[node.input[0]])
        fan_in = max(1, int(np.prod(shape[1:])))
        value = (random.random(shape, dtype=np.float32) - np.float32(0.5)) * np.float32(np.sqrt(24 / fan_in))
        if len(shape) < 2:
            value = np.abs(value) + np.float32(0.1)  # scales and variances, too, are vectors
        model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


@pytest.mark.parametrize("name", RANDOM_NAMES)
def test_the_architectures_that_ship_with_onnx_are_cut_exactly(name: str):
    model = randomised(LIGHT / f"{name}.onnx", seed=1)
    ending = model.graph.node[-1]
    if ending.op_type == "Softmax":  # it saturates with weights that nobody trained: compare what goes in
        model.graph.output[0].name = ending.input[0]
        del model.graph.node[-1]
    analysis = analyse(model)
    assert free_share(analysis) >= FREE
    prepared = prepare(analysis, None, criterion="l1")
    genome = analysis.search_space().uniform(0.5)
    pruned = prepared.prune(genome, recovery="none")
    onnx.checker.check_model(pruned.model, full_check=True)
    shape = [size if isinstance(size, int) else 1 for size in analysis.inputs[0].shape]
    feeds = {analysis.inputs[0].name: np.random.default_rng(2).standard_normal(shape, dtype=np.float32)}
    wanted = outputs_of(silenced(analysis, kept_classes(analysis, prepared.importance, genome)), feeds)
    assert np.abs(wanted[0]).max() > 0
    assert relative_difference(outputs_of(pruned.model, feeds), wanted) < 1e-5


@pytest.mark.parametrize("name", ["transformer_encoder", "vit_sdpa", "resnet_basic", "lstm_2"])
def test_both_exporters_files_have_the_same_work_and_size(name: str):
    """One writes (time, batch, features) where the other writes (batch, time, features)."""
    first, second = (analyse(onnx.load(fixture.path)) for fixture in FIXTURES if fixture.architecture.name == name)
    assert first.macs == second.macs
    assert [group.channels for group in first.groups] == [group.channels for group in second.groups]


def test_the_work_of_a_transformer_is_that_of_its_formula():
    """12 tokens of 20 values, 2 layers of width 32 with 64 hidden, a head on the mean."""
    analysis = analyse(onnx.load(next(f.path for f in FIXTURES if f.name == "transformer_encoder.legacy")))
    layer = 12 * (3 * 32 * 32 + 32 * 32 + 2 * 32 * 64) + 2 * 12 * 12 * 32
    assert analysis.macs == 12 * 20 * 32 + 2 * layer + 32 * 10
