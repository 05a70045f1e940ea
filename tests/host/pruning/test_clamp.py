from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from edgepareto.host.pruning import Analysis, analyse, prepare
from edgepareto.host.pruning.repair.clamp import Clamp, clamp_of
from edgepareto.host.pruning.repair.dense_activations import observe
from edgepareto.host.pruning.repair.recovery import fit_rows
from edgepareto.host.pruning.repair.segments import cut_segments
from onnx import helper
from scipy.optimize import minimize

RELU = Clamp(low=0.0, high=np.inf)
RELU6 = Clamp(low=0.0, high=6.0)


def _problem(level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, a summand and targets that no linear layer reaches, about half of them cut off."""
    random = np.random.default_rng(5)
    inputs = random.normal(size=(600, 6)).astype(np.float32)
    added = random.normal(size=(600, 2)).astype(np.float32)
    hidden = inputs @ random.normal(size=(6, 8)) + random.normal(size=(600, 8))
    return inputs, added, (2 * np.tanh(hidden) @ random.normal(size=(8, 2)) + level).astype(np.float32)


@pytest.mark.parametrize(("clamp", "level"), [(RELU, -1.0), (RELU6, 3.0)])
def test_the_fit_comes_near_the_least_matching_loss(clamp, level):
    inputs, added, targets = _problem(level)
    start, bias = np.zeros((2, 6), dtype=np.float32), np.zeros(2, dtype=np.float32)

    def integral(outputs: np.ndarray) -> np.ndarray:
        """Of the clamp, from its lower limit 0."""
        within = np.clip(outputs, 0, clamp.high)
        beyond = np.maximum(outputs - clamp.high, 0) * clamp.high if np.isfinite(clamp.high) else 0.0
        return within**2 / 2 + beyond

    def loss(weights: np.ndarray, bias: np.ndarray) -> float:
        outputs = inputs.astype(float) @ weights.T + bias + added  # double: the search takes differences
        wanted = clamp.apply(targets)
        return float((integral(outputs) - integral(targets) - wanted * (outputs - targets)).sum())

    linear = fit_rows(inputs.copy(), targets, start, bias, added=added, ridge=1e-9)
    clamped = fit_rows(inputs.copy(), targets, start, bias, clamp=clamp, added=added, ridge=1e-9)
    least = minimize(lambda x: loss(x[:12].reshape(2, 6), x[12:]), np.zeros(14)).fun
    assert least < 0.95 * loss(*linear)
    assert loss(*clamped) < 1.02 * least


def test_where_nothing_is_cut_off_the_clamped_fit_is_the_linear_one():
    inputs, added, targets = _problem(100.0)
    start, bias = np.ones((2, 6), dtype=np.float32), np.zeros(2, dtype=np.float32)
    linear = fit_rows(inputs.copy(), targets, start, bias, added=added)
    clamped = fit_rows(inputs.copy(), targets, start, bias, clamp=RELU, added=added)
    np.testing.assert_allclose(clamped[0], linear[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(clamped[1], linear[1], rtol=1e-4)


def test_limits_are_read_from_attributes_and_constants_but_not_from_tensors_of_the_run():
    six = {"six": np.array(6, dtype=np.float32)}
    assert clamp_of(helper.make_node("Relu", ["x"], ["y"]), {}) == RELU
    assert clamp_of(helper.make_node("Clip", ["x"], ["y"], min=0.0, max=6.0), {}) == RELU6
    assert clamp_of(helper.make_node("Clip", ["x", "", "six"], ["y"]), six) == Clamp(low=-np.inf, high=6.0)
    assert clamp_of(helper.make_node("Clip", ["x", "", "other"], ["y"]), six) is None
    assert clamp_of(helper.make_node("Sigmoid", ["x"], ["y"]), {}) is None


def test_the_clamp_behind_a_sum_applies_to_both_branches(new_net, images):
    net = new_net()
    stem = net.relu(net.conv("image", 3, 8))
    branch = net.conv(stem, 8, 8)
    shortcut = net.conv(stem, 8, 8)
    analysis = analyse(net.model(net.head(net.relu(net.node("Add", branch, shortcut)), 8)))
    layers = [segment for segment in cut_segments(analysis) if segment.layer is not None]
    assert [(segment.summand, segment.partner, segment.clamp) for segment in layers] == [
        (None, None, RELU),
        (None, shortcut, RELU),
        (branch, None, RELU),
        (None, None, None),
    ]
    dense = observe(analysis, {"image": images})
    assert [number for number, of in dense.layers.items() if of.partner is not None] == [1]
    own = dense.layers[1].targets - dense.layers[1].partner
    patches = dense.layers[1].sampler.gather(run_all(analysis, images, stem)).reshape(len(own), -1)
    layer = analysis.graph.layers[1]
    rows = analysis.constants[layer.weight].reshape(8, -1)
    bias = 0 if layer.bias is None else analysis.constants[layer.bias]
    np.testing.assert_allclose(own, patches @ rows.T + bias, rtol=1e-3, atol=1e-4)


def test_what_is_made_early_counts_although_its_sum_stands_behind_another_layer(new_net, images):
    net = new_net()
    stem = net.relu(net.conv("image", 3, 8))
    inner = net.relu(net.conv(stem, 8, 8))
    branch, between = net.conv(inner, 8, 8), net.conv(inner, 8, 8)
    x = net.relu(net.node("Add", net.relu(net.node("Add", branch, stem)), between))
    analysis = analyse(net.model(net.head(x, 8)))
    layers = [segment for segment in cut_segments(analysis) if segment.layer is not None]
    assert (layers[2].summand, layers[2].partner, layers[2].clamp) == (stem, None, RELU)
    assert observe(analysis, {"image": images}).layers[2].summand == stem


def test_one_tensor_may_be_added_to_two_layers_that_are_made_before_it(new_net, images):
    net = new_net()
    stem = net.relu(net.conv("image", 3, 8))
    one, other = net.conv(stem, 8, 8), net.conv(stem, 8, 8)
    late = net.relu(net.conv(stem, 8, 8))
    x = net.node("Concat", net.node("Add", one, late), net.node("Add", other, late), axis=1)
    dense = observe(analyse(net.model(net.head(x, 16))), {"image": images})
    assert [number for number, of in dense.layers.items() if of.partner is not None] == [1, 2]


def test_a_bias_in_an_add_of_its_own_is_repaired_like_one_in_the_layer(new_net, images, run_model):
    pruned = []
    for splits in (False, True):
        net = new_net()

        def dense(data, inputs, outputs, net=net, splits=splits):
            weight = net.constant(net.random.normal(size=(inputs, outputs)) / np.sqrt(inputs))
            bias = net.constant(net.random.normal(size=outputs) * 0.3)
            return (
                net.node("Add", net.node("MatMul", data, weight), bias)
                if splits
                else net.node("Gemm", data, weight, bias)
            )

        x = net.relu(dense(net.node("Flatten", "image"), 192, 24))
        x = net.relu(net.node("Add", dense(net.relu(dense(x, 24, 24)), 24, 24), x))
        analysis = analyse(net.model(dense(net.relu(dense(x, 24, 16)), 16, 5)))
        clamps = [segment.clamp for segment in cut_segments(analysis) if segment.layer is not None]
        assert clamps == [RELU, RELU, RELU, RELU, None]
        genome = analysis.search_space().uniform(0.5)
        pruned.append(run_model(prepare(analysis, {"image": images}).prune(genome).model, images))
    np.testing.assert_allclose(pruned[1], pruned[0], rtol=1e-3, atol=1e-3)


def run_all(analysis: Analysis, images: np.ndarray, name: str) -> list[np.ndarray]:
    """One chunk per 32 images, as observe cuts them."""
    model = onnx.ModelProto.FromString(analysis.model.SerializeToString())
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run([name], {"image": images[start : start + 32]})[0] for start in range(0, len(images), 32)]
