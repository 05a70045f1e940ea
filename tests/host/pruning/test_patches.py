from __future__ import annotations

import numpy as np
import pytest
from edgepareto.host.pruning import analyse
from edgepareto.host.pruning.layer import LayerKind
from edgepareto.host.pruning.repair.layer_repair import apply_layer, weight_rows
from edgepareto.host.pruning.repair.patches import PatchSampler


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize(
    "geometry",
    [
        {"strides": [1, 1], "pads": [1, 1, 1, 1]},
        {"strides": [2, 1], "pads": [0, 1, 2, 0], "dilations": [2, 1]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [3, 2], "auto_pad": "SAME_LOWER"},
        {"auto_pad": "VALID"},
    ],
)
def test_a_layer_applied_to_its_patches_gives_its_outputs_at_those_places(new_net, run_model, geometry, group):
    net = new_net()
    weight = net.random.normal(size=(4 if group > 1 else 5, 4 // group, 3, 2))
    bias = net.random.normal(size=len(weight))
    x = net.conv("image", 3, 4)
    out = net.node("Conv", x, net.constant(weight), net.constant(bias), group=group, kernel_shape=[3, 2], **geometry)
    images = net.random.normal(size=(5, 3, 9, 11)).astype(np.float32)
    model = net.model(out, shape=("batch", 3, 9, 11), result=("batch", len(weight), "h", "w"))
    model.graph.output.append(model.graph.input[0])
    model.graph.output[1].name = x
    hidden_model = type(model)()
    hidden_model.CopyFrom(model)
    del hidden_model.graph.output[0]
    hidden, outputs = run_model(hidden_model, images), run_model(model, images)
    analysis = analyse(model)
    layer = analysis.graph.layers[1]
    assert layer.kind is (LayerKind.CONV if group == 1 else LayerKind.GROUPED)
    sampler = PatchSampler(layer, 1, analysis.model.graph.node[layer.node], weight.shape[2:])
    chunks = [hidden[:3], hidden[3:]]
    patches = sampler.gather(chunks)
    applied = apply_layer(patches, weight_rows(weight, layer), bias.astype(np.float32), layer)
    expected = sampler.gather_outputs([outputs[:3], outputs[3:]], chunks)
    assert expected is not None
    assert len(expected) == 5 * 12
    np.testing.assert_allclose(applied, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize(
    "geometry",
    [
        {"strides": [2, 2], "pads": [0, 0, 0, 0]},
        {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
        {"strides": [1, 2], "pads": [0, 1, 2, 0], "dilations": [2, 1]},
    ],
)
def test_a_transposed_layer_applied_to_its_patches_gives_its_outputs_at_those_places(
    new_net, run_model, geometry, group
):
    net = new_net()
    weight = net.random.normal(size=(4, 8 // group, 3, 2))
    bias = net.random.normal(size=8)
    x = net.conv("image", 3, 4)
    out = net.node(
        "ConvTranspose", x, net.constant(weight), net.constant(bias), group=group, kernel_shape=[3, 2], **geometry
    )
    model = net.model(out, shape=("batch", 3, 9, 11), result=("batch", 8, "h", "w"))
    images = net.random.normal(size=(5, 3, 9, 11)).astype(np.float32)
    outputs = run_model(model, images)
    del model.graph.node[1]
    model.graph.output[0].name = x
    hidden = run_model(model, images)
    analysis = analyse(net.model(out, shape=("batch", 3, 9, 11), result=("batch", 8, "h", "w")))
    layer = analysis.graph.layers[1]
    sampler = PatchSampler(layer, 1, analysis.model.graph.node[layer.node], weight.shape[2:])
    applied = apply_layer(sampler.gather([hidden]), weight_rows(weight, layer), bias.astype(np.float32), layer)
    expected = sampler.gather_outputs([outputs], [hidden])
    assert expected is not None
    assert len(expected) == 5 * 12
    np.testing.assert_allclose(applied, expected, rtol=1e-4, atol=1e-4)


def test_two_chunks_are_sampled_at_different_places(nets):
    analysis = analyse(nets["residual"]())
    layer = analysis.graph.layers[1]
    sampler = PatchSampler(layer, 1, analysis.model.graph.node[layer.node], (3, 3))
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8), (1, 8, 8, 8))
    first, second = np.split(sampler.gather([ramp, ramp])[:, 0, 4], 2)  # the centre tap names the place
    assert len(set(first)) == len(set(second)) == 12
    assert set(first) != set(second)
