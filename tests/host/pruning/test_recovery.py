from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from edgepareto.host.domain import Genome
from edgepareto.host.errors import ConfigError, DataError, EvaluationError
from edgepareto.host.pruning import analyse, prepare
from edgepareto.host.pruning.repair import live_memory, recovery
from edgepareto.host.pruning.repair.recovery import fit_groups, fit_rows, match_moments
from edgepareto.host.pruning.repair.segments import cut_segments

EXAMPLE = Path(__file__).parents[3] / "examples" / "fashion_mnist"


def _problem(rows: int = 400, unknowns: int = 7, outputs: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    inputs = (random.normal(size=(rows, unknowns)) @ random.normal(size=(unknowns, unknowns)) + 1).astype(np.float32)
    targets = (inputs @ random.normal(size=(unknowns, outputs)) + 2 + random.normal(size=(rows, outputs))).astype("f4")
    return inputs, targets


def test_without_a_penalty_the_fit_is_numpys_least_squares():
    inputs, targets = _problem()
    start = np.zeros((3, 7), dtype=np.float32)
    weights, bias = fit_rows(inputs.copy(), targets, start, np.zeros(3, dtype=np.float32), ridge=1e-10)
    augmented = np.c_[inputs, np.ones(len(inputs))].astype(np.float64)
    expected = np.linalg.lstsq(augmented, targets.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(np.c_[weights, bias], expected.T, rtol=2e-3, atol=2e-3)


def test_without_a_bias_the_fit_goes_through_the_origin():
    inputs, targets = _problem()
    weights, bias = fit_rows(inputs.copy(), targets, np.zeros((3, 7), dtype=np.float32), None, ridge=1e-10)
    expected = np.linalg.lstsq(inputs.astype(np.float64), targets.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(weights, expected.T, rtol=2e-3, atol=2e-3)
    assert not bias.any()


def test_a_heavy_penalty_leaves_the_sliced_weights():
    inputs, targets = _problem()
    start = np.random.default_rng(1).normal(size=(3, 7)).astype(np.float32)
    weights, _ = fit_rows(inputs, targets, start, np.zeros(3, dtype=np.float32), ridge=1e9)
    np.testing.assert_allclose(weights, start, atol=1e-5)


def test_the_dual_system_gives_what_the_primal_gives(monkeypatch):
    inputs, targets = _problem(rows=40, unknowns=50)
    start, bias = np.ones((3, 50), dtype=np.float32), np.zeros(3, dtype=np.float32)
    primal = fit_rows(inputs.copy(), targets, start, bias)
    monkeypatch.setattr(recovery, "LARGEST_SYSTEM", 45)
    dual = fit_rows(inputs, targets, start, bias)
    np.testing.assert_allclose(dual[0], primal[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(dual[1], primal[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_grouped_layer_is_one_small_fit_per_group(outputs):
    random = np.random.default_rng(2)
    inputs = random.normal(size=(4, 300, 9)).astype(np.float32) + 0.5
    targets = random.normal(size=(300, 4 * outputs)).astype(np.float32)
    start = random.normal(size=(4, outputs, 9)).astype(np.float32)
    weights, bias = fit_groups(inputs.copy(), start, targets)
    for group in range(4):
        own = slice(group * outputs, (group + 1) * outputs)
        alone = fit_rows(inputs[group].copy(), targets[:, own], start[group], np.zeros(outputs, dtype=np.float32))
        np.testing.assert_allclose(weights[own], alone[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(bias[own], alone[1], rtol=1e-4, atol=1e-5)


def test_matching_moments_gives_the_dense_mean_and_deviation():
    random = np.random.default_rng(3)
    inputs, targets = random.normal(size=(500, 6)).astype(np.float32), random.normal(3, 2, size=(500, 4)).astype("f4")
    weights, bias = random.normal(size=(4, 6)).astype(np.float32), random.normal(size=4).astype(np.float32)
    weights, bias = match_moments(inputs @ weights.T + bias, targets, weights, bias)
    outputs = inputs @ weights.T + bias
    np.testing.assert_allclose(outputs.mean(axis=0), targets.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(outputs.std(axis=0), targets.std(axis=0), rtol=1e-4)


def test_least_squares_brings_every_net_nearer_to_the_dense_one(model, run_model):
    analysis = analyse(model)
    random = np.random.default_rng(77)
    calibration, unseen = (random.normal(size=(count, 3, 8, 8)).astype(np.float32) for count in (256, 64))
    prepared = prepare(analysis, {"image": calibration})
    genome = analysis.search_space().uniform(0.7)
    dense = run_model(model, unseen)
    error = {
        name: float(((run_model(prepared.prune(genome, recovery=name).model, unseen) - dense) ** 2).mean())
        for name in ("ls", "none")
    }
    assert error["ls"] < 0.8 * error["none"]


def test_a_duplicated_channel_is_removed_without_a_trace(nets, images, run_model):
    """The known answer of the whole engine: two equal filters, one goes, its consumer doubles the other's weight."""
    model = nets["residual"]()
    analysis = analyse(model)
    layer = next(layer for layer in analysis.graph.layers if layer.name == analysis.groups[1].layers[0])
    for tensor in model.graph.initializer:
        if tensor.name in (layer.weight, layer.bias):
            value = onnx.numpy_helper.to_array(tensor).copy()
            value[4] = value[1]
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    analysis = analyse(model)
    prepared = prepare(analysis, {"image": images})
    widths = list(analysis.search_space().dense().widths)
    widths[1] -= 1
    pruned = prepared.prune(Genome(widths=tuple(widths))).model
    assert prepared.importance[1][0][-1] in (1, 4)
    dense = run_model(model, images)
    assert np.abs(run_model(pruned, images) - dense).max() < 0.02 * np.abs(dense).max()


@pytest.mark.parametrize("name", ["ls", "moment"])
def test_the_same_genome_gives_the_same_bits(nets, images, name):
    models = []
    for _ in range(2):
        analysis = analyse(nets["inverted_residual"]())
        prepared = prepare(analysis, {"image": images})
        for _ in range(2):
            genome = analysis.search_space().uniform(0.5)
            models.append(prepared.prune(genome, recovery=name).model.SerializeToString())
    assert len(set(models)) == 1


def test_a_fixed_batch_axis_is_recovered_one_batch_at_a_time(new_net, images, run_model):
    net = new_net()
    x = net.relu(net.conv("image", 3, 8))
    x = net.node("Reshape", net.relu(net.conv(x, 8, 6, stride=2)), net.constant([2, 96]))
    model = net.model(net.gemm(x, 96, 5), shape=(2, 3, 8, 8), result=(2, 5))
    analysis = analyse(model)
    prepared = prepare(analysis, {"image": images[:33]})
    assert prepared.dense.images == 32
    pruned = prepared.prune(analysis.search_space().uniform(0.5))
    assert run_model(pruned.model, images[:2]).shape == (2, 5)


def test_fewer_samples_than_the_model_takes_at_a_time_are_refused_in_one_line(new_net, images):
    net = new_net()
    model = net.model(net.head(net.relu(net.conv("image", 3, 8)), 8), shape=(8, 3, 8, 8), result=(8, 5))
    with pytest.raises(DataError, match=r"^5 calibration samples are used, the model takes 8 at a time; give more$"):
        prepare(analyse(model), {"image": images[:5]})


def test_activations_that_overflow_are_an_error_and_no_model(nets, images):
    model = nets["residual"]()
    weight = model.graph.initializer[0]
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1e20), weight.name))
    analysis = analyse(model)
    prepared = prepare(analysis, {"image": images})
    with pytest.raises(EvaluationError, match="not finite"):
        prepared.prune(analysis.search_space().uniform(0.5))


def test_large_activations_take_fewer_images(nets, images, monkeypatch):
    analysis = analyse(nets["residual"]())
    assert prepare(analysis, {"image": images}).dense.images == len(images)
    monkeypatch.setattr(live_memory, "LARGEST_LIVE_BYTES", 40 * 4 * 8 * 64 * 2)
    assert 32 <= prepare(analysis, {"image": images}).dense.images < len(images)


def test_a_free_height_and_width_take_as_few_images_as_fixed_ones(new_net, monkeypatch):
    net = new_net()
    x = net.relu(net.conv("image", 3, 8, stride=2))
    logits = net.head(net.node("Concat", x, net.relu(net.conv(x, 8, 8)), axis=1), 16)
    samples = {"image": np.zeros((512, 3, 32, 24), dtype=np.float32)}
    monkeypatch.setattr(live_memory, "LARGEST_LIVE_BYTES", 100 * 4 * 8 * 16 * 12)
    counts = []
    for shape in (("batch", 3, 32, 24), ("batch", 3, "height", "width"), (4, 3, 32, "width")):
        analysis = analyse(net.model(logits, shape=shape))
        counts.append(live_memory.affordable_images(analysis, cut_segments(analysis), samples))
        logits = "logits"
    assert 32 < counts[0] < 100
    assert counts[1] == counts[0]
    assert counts[2] == counts[0] - counts[0] % 4


def test_several_inputs_and_outputs_are_kept_and_fed(new_net, images):
    net = new_net()
    x = net.relu(net.conv("image", 3, 8))
    scaled = net.node("Mul", x, "gain")
    logits = net.head(net.relu(net.conv(scaled, 8, 6)), 6)
    gain_input = onnx.helper.make_tensor_value_info("gain", 1, ["batch", 1, 1, 1])
    model = net.model(logits, more_inputs=[gain_input])
    model.graph.output.append(onnx.helper.make_tensor_value_info(x, 1, ["batch", 8, 8, 8]))
    analysis = analyse(model)
    assert [group.channels for group in analysis.groups] == [6]
    assert analysis.frozen[0].reason == f"reaches the model's output '{x}'"
    gain = np.linspace(0, 1, len(images), dtype=np.float32).reshape(-1, 1, 1, 1)
    pruned = prepare(analysis, {"image": images, "gain": gain}).prune(analysis.search_space().uniform(0.5)).model
    session = onnxruntime.InferenceSession(pruned.SerializeToString(), providers=["CPUExecutionProvider"])
    shapes = [output.shape for output in session.run(None, {"image": images[:2], "gain": gain[:2]})]
    assert shapes == [(2, 5), (2, 8, 8, 8)]


def test_an_unknown_recovery_names_the_known_ones(nets, images):
    analysis = analyse(nets["residual"]())
    with pytest.raises(ConfigError, match="ls, moment, none"):
        prepare(analysis, {"image": images}).prune(analysis.search_space().dense(), recovery="prayer")


@pytest.mark.parametrize(("name", "least"), [("resnet", 0.85), ("mobilenet", 0.85)])
def test_half_the_channels_of_a_real_net_keep_most_of_its_accuracy(run_model, name, least):
    model = onnx.load(EXAMPLE / f"{name}.onnx")
    model.graph.input[0].name = "image"
    for node in model.graph.node:
        for position, tensor in enumerate(node.input):
            node.input[position] = "image" if tensor == "x" else tensor
    validation = np.load(EXAMPLE / "validation.npz")
    calibration = np.load(EXAMPLE / "calibration.npz")["x"][:512].astype(np.float32) / 255
    analysis = analyse(model)
    pruned = prepare(analysis, {"image": calibration}).prune(analysis.search_space().uniform(0.5))
    logits = run_model(pruned.model, validation["x"][:1000].astype(np.float32) / 255)
    assert float((logits.argmax(axis=1) == validation["y"][:1000]).mean()) >= least
    assert pruned.parameters < 0.3 * analysis.parameters
