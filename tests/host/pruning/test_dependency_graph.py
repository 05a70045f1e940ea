from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgepareto.host.errors import ModelError
from edgepareto.host.pruning import analyse
from onnx import helper


def test_a_residual_sum_ties_its_layers_into_one_group(nets):
    groups = analyse(nets["residual"]()).groups
    assert [group.channels for group in groups] == [8, 6, 10, 12]
    assert [len(group.layers) for group in groups] == [2, 1, 1, 2]


def test_a_depthwise_layer_shares_the_group_of_its_expansion(nets):
    analysis = analyse(nets["inverted_residual"]())
    assert [group.channels for group in analysis.groups] == [6, 24, 8, 32, 16]
    assert len(analysis.groups[1].layers) == 2


def test_a_layer_added_to_a_concat_is_cut_in_the_concats_parts(nets):
    analysis = analyse(nets["dense_concat"]())
    assert [(group.channels, len(group.layers)) for group in analysis.groups] == [(6, 2), (4, 2), (5, 1)]


def test_every_piece_of_a_split_and_of_a_slice_keeps_a_channel_of_its_own(nets):
    analysis = analyse(nets["split_and_sliced"]())
    first = analysis.groups[0].layers[0]
    pieces = [group for group in analysis.groups if first in group.layers]
    assert [group.channels for group in pieces] == [2, 2, 5, 1] or sum(group.channels for group in pieces) >= 9
    assert analysis.search_space().uniform(0.01).widths == (1,) * len(analysis.groups)


def _only_reasons(model: onnx.ModelProto) -> list[str]:
    return [group.reason for group in analyse(model).frozen]


def test_an_unknown_operator_freezes_what_it_reads_and_is_named(new_net):
    net = new_net()
    x = net.relu(net.conv("image", 3, 6))
    x = net.node("CumSum", x, net.constant(np.array(1), "int64"), name="sums")
    reasons = _only_reasons(net.model(net.head(net.relu(net.conv(x, 6, 4)), 4)))
    assert reasons[0] == "is read by 'sums' (CumSum), which is an operator that pruning does not know yet"
    assert len(reasons) == 2, "what follows the operator stays prunable"


def test_an_operator_of_another_domain_is_unknown_whatever_its_name(new_net):
    net = new_net()
    x = net.conv("image", 3, 6)
    net.nodes.append(helper.make_node("Relu", [x], ["mine"], name="mine", domain="com.example"))
    head = net.head(net.conv("mine", 6, 4), 4)
    graph = helper.make_graph(
        net.nodes,
        "net",
        [helper.make_tensor_value_info("image", 1, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info(head, 1, ["batch", 5])],
        [onnx.numpy_helper.from_array(value, name) for name, value in net.tensors.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    assert "(com.example.Relu)" in _only_reasons(helper.make_model(graph, opset_imports=domains, ir_version=8))[0]


def test_a_grouped_convolution_loses_as_many_channels_in_each_group(new_net):
    net = new_net()
    x = net.relu(net.conv("image", 3, 8))
    grouped = net.conv(x, 8, 12, group=2)
    analysis = analyse(net.model(net.head(net.relu(grouped), 12)))
    assert [group.widths for group in analysis.groups] == [(2, 4, 6, 8), (2, 4, 6, 8, 10, 12)]


def test_a_channel_shuffle_leaves_every_channel_free(new_net):
    net = new_net()
    x = net.conv("image", 3, 8)
    x = net.node("Reshape", x, net.constant([0, 2, 4, 8, 8]), name="shuffle")
    x = net.node("Reshape", net.node("Transpose", x, perm=[0, 2, 1, 3, 4]), net.constant([0, 8, 8, 8]))
    analysis = analyse(net.model(net.head(net.relu(net.conv(x, 8, 4)), 4)))
    assert [group.widths for group in analysis.groups] == [tuple(range(1, 9)), tuple(range(1, 5))]
    assert [node.op_type for node in analysis.model.graph.node][:3] == ["Conv", "Gather", "Conv"]


def test_attention_loses_whole_heads_and_its_hidden_layer_any_channel(nets):
    analysis = analyse(nets["attention"]())
    assert [group.channels for group in analysis.groups] == [3, 10]
    assert "is normalised across channels" in analysis.frozen[0].reason


def test_the_models_output_and_its_input_keep_their_channels(new_net):
    net = new_net()
    x = net.conv("image", 3, 3)
    analysis = analyse(net.model(net.node("Add", x, "image"), result=("batch", 3, 8, 8)))
    assert analysis.groups == ()
    assert [group.reason for group in analysis.frozen] == ["reaches the model's output 'logits'"]


def test_a_skip_over_an_unknown_operator_freezes_both_sides_of_the_sum(new_net):
    net = new_net()
    x = net.relu(net.conv("image", 3, 6))
    y = net.node("Add", net.node("CumSum", net.conv(x, 6, 6), net.constant(np.array(1), "int64")), x, name="skip")
    reasons = _only_reasons(net.model(net.head(y, 6)))
    assert "is combined by 'skip' (Add) with a tensor that cannot be cut" in reasons
    assert len(reasons) == 3


def test_a_tensor_captured_by_a_loop_body_is_frozen(new_net):
    net = new_net()
    x = net.conv("image", 3, 6)
    body = helper.make_graph(
        [helper.make_node("Relu", [x], ["inner"])],
        "then",
        [],
        [helper.make_tensor_value_info("inner", 1, ["batch", 6, 8, 8])],
    )
    x = net.node("If", "choose", then_branch=body, else_branch=body, name="choice")
    net.nodes.append(helper.make_node("Identity", [x], ["same"], name="same"))
    graph = helper.make_graph(
        net.nodes,
        "net",
        [helper.make_tensor_value_info("image", 1, ["batch", 3, 8, 8]), helper.make_tensor_value_info("choose", 9, [])],
        [helper.make_tensor_value_info("same", 1, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in net.tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert "'choice' (If)" in _only_reasons(model)[0]


def test_initializers_among_the_inputs_of_an_old_model_are_no_inputs(nets):
    model = nets["residual"]()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3
    analysis = analyse(model)
    assert [value.name for value in analysis.inputs] == ["image"]
    assert analysis.model.ir_version >= 8
    assert len(analysis.groups) == 4


def test_a_broken_model_is_wrong_use_in_one_line(nets):
    model = nets["residual"]()
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelError) as caught:
        analyse(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 22])
def test_opsets_old_and_new_give_the_same_groups(new_net, opset):
    net = new_net(opset)
    x = net.relu(net.conv("image", 3, 8))
    x = net.relu(net.node("Add", net.conv(net.relu(net.conv(x, 8, 6)), 6, 8), x))
    analysis = analyse(net.model(net.head(x, 8)))
    assert [group.channels for group in analysis.groups] == [8, 6]


def _along_positions(net, make):
    """(batch, 3, 8, 8) as 24 positions of 8 values, a layer over the values, and what `make` does to them."""
    x = net.node("Reshape", "image", net.constant([0, 24, 8]))
    x = net.node("MatMul", x, net.constant(net.random.normal(size=(8, 6))), name="values")
    x = make(x)
    size = {"pool": 24, "resize": 24 * 12, "norm": 24 * 6, "conv": 4}
    features = next(size[key] for key in size if key in make.__name__)
    return net.model(net.gemm(net.node("Flatten", x), features, 5))


def test_channels_on_an_axis_that_a_layer_takes_for_positions_keep_their_number(new_net):
    def pool(x):
        return net.node("GlobalAveragePool", x)

    def resize(x):
        return net.node("Resize", x, "", net.constant([1.0, 1.0, 2.0]), mode="nearest")

    def norm(x):
        return net.node("InstanceNormalization", x, net.constant(np.ones(24)), net.constant(np.zeros(24)))

    def conv(x):
        weight = net.constant(net.random.normal(size=(4, 24, 3)))
        return net.node("GlobalAveragePool", net.node("Conv", x, weight, kernel_shape=[3]))

    for make in (pool, resize, norm, conv):
        net = new_net()
        analysis = analyse(_along_positions(net, make))
        assert "values" not in [group.name for group in analysis.groups], make.__name__
        assert "values" in [group.name for group in analysis.frozen], make.__name__


def test_a_step_counts_the_features_of_a_head_not_the_heads(nets):
    """Three heads, each 4 features of query, key and value: one head alone is a multiple of 4, two of 8."""
    analysis = analyse(nets["attention"]())
    assert [group.features for group in analysis.groups] == [12, 1]
    assert [gene.widths for gene in analysis.search_space(4).genes] == [(1, 2, 3), (4, 8, 10)]
    assert [gene.widths for gene in analysis.search_space(8).genes] == [(2, 3), (8, 10)]


def test_groups_that_do_not_divide_the_channels_are_said_so(new_net):
    """The checker lets it pass; a runtime would not."""
    net = new_net()
    x = net.conv("image", 3, 8)
    weight = net.constant(net.random.normal(size=(6, 2, 1, 1)))
    x = net.node("Conv", x, weight, group=4, kernel_shape=[1, 1], name="uneven")
    net.nodes.append(helper.make_node("Relu", [x], ["last"], name="last"))
    graph = helper.make_graph(
        net.nodes,
        "net",
        [helper.make_tensor_value_info("image", 1, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("last", 1, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in net.tensors.items()],
    )
    reasons = _only_reasons(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert "which has channels that its 4 groups do not divide" in reasons[0]
