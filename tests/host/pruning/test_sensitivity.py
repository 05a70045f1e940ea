from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgepareto.host.pruning import analyse
from edgepareto.host.pruning.repair.dense_activations import observe
from edgepareto.host.pruning.repair.sensitivity import LEAST, measure_sensitivities
from onnx import TensorProto, numpy_helper


@pytest.fixture
def branches(new_net, images):
    """Two convolutions of one stem, of equal outputs; the loud one's reach the model's output ten times larger."""

    def build(loud: float):
        net = new_net()
        stem = net.relu(net.conv("image", 3, 8))
        one = net.node("Mul", net.conv(stem, 8, 8), net.constant(np.float32(loud)))
        other = net.conv(stem, 8, 8)
        analysis = analyse(net.model(net.head(net.node("Add", one, other), 8)))
        return analysis, observe(analysis, {"image": images})

    return build


def test_an_error_that_arrives_ten_times_larger_counts_a_hundred_times(branches):
    analysis, dense = branches(10.0)
    # Through a linear head, the reaction to noise of unit relative variance is the gain squared times the variance.
    measured = measure_sensitivities(analysis, dense.inputs, [1, 2], dense.variances)
    ratio = (measured[1] / dense.variances[1]) / (measured[2] / dense.variances[2])
    assert ratio == pytest.approx(100, rel=0.25)


def test_a_layer_whose_outputs_do_not_arrive_has_the_least_sensitivity_and_not_none(branches):
    analysis, dense = branches(0.0)
    measured = measure_sensitivities(analysis, dense.inputs, [1, 2], dense.variances)
    assert measured[1] == LEAST * measured[2] > 0


def test_the_same_noise_is_drawn_each_time_and_a_lone_number_asks_for_none(branches):
    analysis, dense = branches(3.0)
    first, second = (measure_sensitivities(analysis, dense.inputs, [0, 2], dense.variances) for _ in range(2))
    assert first == second
    assert measure_sensitivities(analysis, dense.inputs, [], dense.variances) == {}


def test_a_model_that_does_not_react_weighs_all_its_layers_alike(new_net, images):
    net = new_net()
    model = net.model(net.head(net.relu(net.conv("image", 3, 8)), 8))
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name))
    analysis = analyse(model)
    dense = observe(analysis, {"image": images})
    assert measure_sensitivities(analysis, dense.inputs, [0, 1], dense.variances) == {0: 1.0, 1: 1.0}


@pytest.fixture
def with_more_outputs(new_net):
    """A stem read by two convolutions, whose sum the head reads; `add` puts out more of what it is given."""

    def build(add=lambda net, logits: []):
        net = new_net()
        stem = net.relu(net.conv("image", 3, 8))
        logits = net.head(net.relu(net.node("Add", net.conv(stem, 8, 8), net.conv(stem, 8, 8))), 8)
        more = add(net, logits)
        model = net.model(logits)
        for name, element_type in more:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, element_type, None))
        return model

    return build


def found_classes(net, logits):
    return [(net.node("NonZero", net.node("Greater", logits, net.constant(0.0))), TensorProto.INT64)]


def found_scores(net, logits):
    """As many as there are: the noise changes their number."""
    places = net.node("Transpose", found_classes(net, logits)[0][0])
    return [(net.node("GatherND", logits, places), TensorProto.FLOAT)]


def names_of_classes(net, logits):
    names = net.constant(np.array(list("abcde")), "object")
    return [(net.node("Gather", names, net.node("ArgMax", logits, axis=1, keepdims=0)), TensorProto.STRING)]


@pytest.mark.parametrize("add", [found_classes, found_scores, names_of_classes])
def test_outputs_that_cannot_be_compared_do_not_count(with_more_outputs, images, add):
    measured = []
    for model in (with_more_outputs(), with_more_outputs(add)):
        analysis = analyse(model)
        dense = observe(analysis, {"image": images})
        measured.append(measure_sensitivities(analysis, dense.inputs, [1, 2], dense.variances))
    assert measured[1] == measured[0] != {1: 1.0, 2: 1.0}


def test_a_model_of_half_precision_reacts_as_in_single_precision(with_more_outputs, images):
    single = with_more_outputs()
    half = onnx.ModelProto.FromString(single.SerializeToString())
    for tensor in half.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(array.astype("f2") if array.dtype.kind == "f" else array, tensor.name))
    for value in (*half.graph.input, *half.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    measured = []
    for model, samples in ((single, images), (half, images.astype("f2"))):
        analysis = analyse(model)
        dense = observe(analysis, {"image": samples})
        measured.append(measure_sensitivities(analysis, dense.inputs, [1, 2], dense.variances))
    assert measured[1] == pytest.approx(measured[0], rel=0.05)
