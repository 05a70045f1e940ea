"""What a rule does not speak of keeps its channels: further outputs, computed biases and scales, odd ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from edgepareto.host.pruning import analyse, prepare
from edgepareto.host.pruning.slice_model import kept_classes
from models.silence import outputs_of, relative_difference, silenced
from onnx import TensorProto, helper, numpy_helper

from tests.host.pruning.conftest import Net

IMAGE = ("batch", 3, 8, 8)


def _indices_of_a_pool(net: Net) -> list[str]:
    x = net.node("MaxPool", net.conv("image", 3, 8), outputs=2, kernel_shape=[2, 2])
    return [net.conv(x, 8, 4), x[:-1] + "1"]


def _statistics_of_a_training_batch_norm(net: Net) -> list[str]:
    parts = [net.constant(value) for value in (np.ones(8), np.zeros(8), np.zeros(8), np.ones(8))]
    x = net.node("BatchNormalization", net.conv("image", 3, 8), *parts, outputs=3, training_mode=1)
    return [net.conv(x, 8, 4), x[:-1] + "1"]


def _mean_of_a_layer_norm(net: Net) -> list[str]:
    scale, shift = net.constant(np.ones(8)), net.constant(np.zeros(8))
    x = net.node("LayerNormalization", net.conv("image", 3, 8), scale, shift, outputs=2, axis=-1)
    return [net.conv(x, 8, 4), net.conv(x[:-1] + "1", 8, 4, 1)]


def _bias_of_a_gemm_from_a_layer(net: Net) -> list[str]:
    pooled = net.node("Flatten", net.node("GlobalAveragePool", "image"))
    bias = net.relu(net.gemm(pooled, 3, 6))
    weight = net.constant(net.random.normal(size=(3, 6)))
    return [net.gemm(net.node("Gemm", pooled, weight, bias), 6, 5)]


def _scale_of_a_layer_norm_from_a_layer(net: Net) -> list[str]:
    pooled = net.node("Flatten", net.node("ReduceMean", "image", axes=[0, 2, 3], keepdims=1))
    scale = net.node("Reshape", net.relu(net.gemm(pooled, 3, 8)), net.constant([8]))
    return [net.node("LayerNormalization", net.conv("image", 3, 4), scale, axis=-1)]


def _rows_of_a_single_channel(net: Net) -> list[str]:
    """Merged samples would go unnoticed: the Reshape has a -1."""
    x = net.relu(net.node("MatMul", net.conv("image", 3, 1), net.constant(net.random.normal(size=(8, 6)))))
    x = net.node("Reshape", x, net.constant([-1, 48]))
    return [net.node("MatMul", x, net.constant(net.random.normal(size=(48, 5))))]


CASES: Sequence[Callable[[Net], list[str]]] = (
    _indices_of_a_pool,
    _statistics_of_a_training_batch_norm,
    _mean_of_a_layer_norm,
    _bias_of_a_gemm_from_a_layer,
    _scale_of_a_layer_norm_from_a_layer,
    _rows_of_a_single_channel,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.strip("_"))
def test_whatever_can_be_cut_leaves_every_output_as_it_should_be(case: Callable[[Net], list[str]]):
    net = Net()
    outputs = case(net)
    graph = helper.make_graph(
        net.nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in net.tensors.items()],
    )
    for value in graph.output:
        value.type.tensor_type.elem_type = TensorProto.INT64 if "maxpool" in value.name else TensorProto.FLOAT
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"image": net.random.normal(size=(2, 3, 8, 8)).astype(np.float32)}
    dense = outputs_of(model, feeds)
    analysis = analyse(model)
    prepared = prepare(analysis, None, criterion="l1")
    for genome in analysis.search_space().ladder(rungs=4, lowest_ratio=0.01):
        pruned = outputs_of(prepared.prune(genome, recovery="none").model, feeds)
        assert [output.shape for output in pruned] == [output.shape for output in dense]
        wanted = outputs_of(silenced(analysis, kept_classes(analysis, prepared.importance, genome)), feeds)
        assert relative_difference(pruned, wanted) < 1e-5


def test_a_vector_can_be_resized():
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "scale"], ["y"], mode="nearest")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [16])],
        [numpy_helper.from_array(np.array([2.0], dtype=np.float32), "scale")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert analyse(model).groups == ()
