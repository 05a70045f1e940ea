from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgepareto.host.domain import Genome
from edgepareto.host.pruning import analyse, prepare
from edgepareto.host.pruning.slice_model import kept_classes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models.silence import silenced


@pytest.mark.parametrize("ratio", [0.7, 0.4])
def test_removing_channels_that_are_zero_changes_no_output(model, images, run_model, ratio):
    analysis = analyse(model)
    prepared = prepare(analysis, None, criterion="l1")
    genome = analysis.search_space().uniform(ratio)
    kept = kept_classes(analysis, prepared.importance, genome)
    zeroed = run_model(silenced(analysis, kept), images)
    pruned = run_model(prepared.prune(genome, recovery="none").model, images)
    assert not kept.all()
    assert np.abs(zeroed).max() > 1e-3, "a test on silence proves nothing"
    np.testing.assert_allclose(pruned, zeroed, rtol=1e-5, atol=1e-5 * np.abs(zeroed).max())


def test_normalising_changes_no_output(model, images, run_model):
    normalised = analyse(model).model
    np.testing.assert_allclose(run_model(normalised, images), run_model(model, images), rtol=1e-6, atol=1e-6)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_genome_gives_a_valid_model_with_the_same_interface(model, images, run_model, data):
    before = model.SerializeToString()
    analysis = analyse(model)
    prepared = prepare(analysis, {"image": images}, images=32)
    widths = tuple(data.draw(st.sampled_from(group.widths), label=group.name) for group in analysis.groups)
    recovery = data.draw(st.sampled_from(["ls", "moment", "none"]))
    pruned = prepared.prune(Genome(widths=widths), recovery=recovery)
    onnx.checker.check_model(pruned.model, full_check=True)
    assert run_model(pruned.model, images[:3]).shape == (3, 5)
    assert pruned.model.graph.input == model.graph.input
    assert pruned.model.graph.output == model.graph.output
    assert pruned.model.metadata_props == model.metadata_props
    again = analyse(pruned.model)
    assert (again.macs, again.parameters) == (pruned.macs, pruned.parameters)
    if all(len(group.widths) == group.channels for group in analysis.groups):
        assert [group.channels for group in again.groups] == [width for width in widths if width > 1]
    assert model.SerializeToString() == before, "the base is never changed"


def test_the_dense_genome_gives_the_base_back_bit_by_bit(model, images):
    analysis = analyse(model)
    dense = prepare(analysis, {"image": images}).prune(analysis.search_space().dense())
    assert dense.model.SerializeToString() == analysis.model.SerializeToString()
    assert (dense.macs, dense.parameters) == (analysis.macs, analysis.parameters)


def test_macs_and_parameters_are_those_of_the_paper_formulas(nets):
    analysis = analyse(nets["inverted_residual"]())
    blocks = 64 * 6 * 24 + 16 * 24 * 9 + 16 * 24 * 8 + 16 * (8 * 32 + 32 * 9 + 32 * 8)
    assert analysis.macs == 64 * 3 * 6 * 9 + blocks + 16 * 8 * 16 + 16 * 5


def _assert_every_width_is_exact(model, run_model, images):
    """Cut alone or with all others, a group leaves a sound model that gives what the silenced dense model gives."""
    analysis = analyse(model)
    prepared = prepare(analysis, None, criterion="l1")
    space = analysis.search_space()
    assert space.genes, "nothing to cut proves nothing"
    widths = space.dense().widths
    alone = [(*widths[:i], g.widths[0], *widths[i + 1 :]) for i, g in enumerate(space.genes)]
    for genome in (*space.ladder(lowest_ratio=0.01), *(Genome(widths=widths) for widths in alone)):
        kept = kept_classes(analysis, prepared.importance, genome)
        pruned = prepared.prune(genome, recovery="none")
        onnx.checker.check_model(pruned.model, full_check=True)
        zeroed = run_model(silenced(analysis, kept), images[:3])
        seen = run_model(pruned.model, images[:3])
        np.testing.assert_allclose(seen, zeroed, rtol=1e-5, atol=1e-5 * np.abs(zeroed).max())
        again = analyse(pruned.model)
        assert (again.macs, again.parameters) == (pruned.macs, pruned.parameters)


@pytest.mark.parametrize(("start", "end"), [(-3, 2**63 - 1), (0, -2), (-6, -3), (2, -1)])
def test_a_slice_counted_from_the_end_takes_the_same_channels_when_others_go(new_net, run_model, images, start, end):
    net = new_net()
    x = net.relu(net.conv("image", 3, 7))
    y = net.node("Slice", x, *map(net.constant, ([start], [end], [-3])))
    left = len(range(7)[start:end])
    x = net.node("Concat", net.conv(x, 7, 4), net.conv(y, left, 4), axis=1)
    _assert_every_width_is_exact(net.model(net.head(x, 8)), run_model, images)


def test_a_linear_layer_over_positions_counts_the_channels_that_are_left(new_net, run_model, images):
    net = new_net()
    x = net.relu(net.conv("image", 3, 6))
    x = net.relu(net.node("MatMul", x, net.constant(net.random.normal(size=(8, 5)))))
    model = net.model(net.gemm(net.node("ReduceMean", x, axes=[2, 3], keepdims=0), 6, 5))
    assert analyse(model).macs == 64 * 6 * 27 + 6 * 8 * 8 * 5 + 30
    _assert_every_width_is_exact(model, run_model, images)


def test_channels_equal_in_number_per_block_count_as_often_as_they_stand_there(new_net, run_model, images):
    """A block that holds a channel twice is full with half as many."""
    net = new_net()
    a, b = net.relu(net.conv("image", 3, 2)), net.relu(net.conv("image", 3, 4))
    c = net.relu(net.conv(net.node("Concat", a, a, b, axis=1), 8, 6, group=2))
    _assert_every_width_is_exact(net.model(net.head(c, 6)), run_model, images)


def test_a_squeeze_of_whatever_is_single_never_drops_a_last_channel(new_net, run_model, images):
    net = new_net()
    x = net.relu(net.conv("image", 3, 4))
    x = net.node("Squeeze", net.node("GlobalAveragePool", net.relu(net.conv(x, 4, 6))))
    model = net.model(net.gemm(x, 6, 5))
    assert [group.channels for group in analyse(model).groups] == [4]
    _assert_every_width_is_exact(model, run_model, images)


def test_activations_that_are_indices_keep_their_channels_through_a_table(new_net, run_model, images):
    net = new_net()
    x = net.node("Cast", net.node("Clip", net.conv("image", 3, 4), net.constant(0.0), net.constant(3.0)), to=7)
    x = net.node("Gather", net.constant(net.random.normal(size=(4, 3))), x)  # (batch, 4, 8, 8, 3)
    x = net.node("ReduceMean", x, axes=[2, 3], keepdims=0)
    model = net.model(net.gemm(net.node("Reshape", x, net.constant([0, 12])), 12, 5))
    for genome in analyse(model).search_space().ladder(lowest_ratio=0.01):
        pruned = prepare(analyse(model), None, criterion="l1").prune(genome, recovery="none").model
        onnx.checker.check_model(pruned, full_check=True)
        assert run_model(pruned, images[:3]).shape == (3, 5)


def test_the_places_that_a_max_pool_tells_keep_their_channels(new_net, run_model, images):
    net = new_net()
    x = net.node("MaxPool", net.conv("image", 3, 4), kernel_shape=[2, 2], strides=[2, 2], outputs=2)
    x = net.node("Mul", net.node("Cast", x.removesuffix("0") + "1", to=1), net.constant(0.01))
    model = net.model(net.head(net.relu(net.conv(x, 4, 6)), 6))
    assert [group.channels for group in analyse(model).groups] == [6]
    _assert_every_width_is_exact(model, run_model, images)


def test_channels_torn_into_steps_are_followed_into_a_recurrent_layer(new_net, run_model, images):
    """Its two outputs differ in rank."""
    net = new_net()
    x = net.node("Reshape", net.head(net.relu(net.conv("image", 3, 4)), 4, 12), net.constant([0, 3, 4]))
    weights = [net.constant(net.random.normal(size=(1, 5, n))) for n in (4, 5)]
    x = net.node("RNN", net.node("Transpose", x, perm=[1, 0, 2]), *weights, hidden_size=5, outputs=2)
    last = net.node("Transpose", x.removesuffix("0") + "1", perm=[1, 0, 2])
    _assert_every_width_is_exact(net.model(net.gemm(net.node("Flatten", last), 5, 5)), run_model, images)


def test_an_einsum_counts_the_work_that_is_left_down_to_a_single_channel(new_net, run_model, images):
    net = new_net()
    x = net.node("Reshape", net.relu(net.conv("image", 3, 4, stride=2)), net.constant([0, 4, 16]))
    x = net.node("Einsum", x, x, equation="bct,bcs->bts")
    x = net.node("Einsum", x, net.constant(net.random.normal(size=(16, 6))), equation="bts,sf->btf")
    model = net.model(net.gemm(net.node("ReduceMean", x, axes=[1], keepdims=0), 6, 5))
    assert analyse(model).macs == 16 * 4 * 27 + 16 * 4 * 16 + 16 * 16 * 6 + 30
    _assert_every_width_is_exact(model, run_model, images)


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_heads_that_stand_on_the_axis_of_the_batch_count_as_work(new_net, run_model, images, batch):
    net = new_net()
    x = net.node("Reshape", net.relu(net.conv("image", 3, 6, stride=2)), net.constant([0, 3, 2, 16]))
    x = net.node("Reshape", net.node("Transpose", x, perm=[0, 1, 3, 2]), net.constant([-1, 16, 2]))
    x = net.node("MatMul", net.node("MatMul", x, net.node("Transpose", x, perm=[0, 2, 1])), x)
    x = net.node("Transpose", net.node("Reshape", x, net.constant([-1, 3, 16, 2])), perm=[0, 1, 3, 2])
    x = net.node("Reshape", x, net.constant([0, 6, 4, 4]))
    model = net.model(net.head(x, 6), shape=(batch, 3, 8, 8), result=(batch, 5))
    assert analyse(model).macs == 16 * 6 * 27 + 2 * 3 * 16 * 16 * 2 + 30
    _assert_every_width_is_exact(model, run_model, images[: 1 if batch == 1 else 3])


def test_a_weight_that_one_layer_reads_twice_stays_whole(new_net, run_model, images):
    net = new_net()
    x = net.node("ReduceMean", net.conv("image", 3, 4), axes=[3], keepdims=0)
    state = net.node("Unsqueeze", net.head(net.conv("image", 3, 4), 4, 8), net.constant([0]))
    weight = net.constant(net.random.normal(size=(1, 24, 8)) / 3)
    every = net.node("GRU", net.node("Transpose", x, perm=[1, 0, 2]), weight, weight, "", "", state, hidden_size=8)
    model = net.model(net.gemm(net.node("ReduceMean", every, axes=[0, 1], keepdims=0), 8, 5))
    assert [group.channels for group in analyse(model).groups] == [4]
    _assert_every_width_is_exact(model, run_model, images)


def test_torn_channels_that_become_indices_are_looked_after_up_to_a_reshape(new_net, run_model, images):
    """An index has more axes behind its table than before."""
    net = new_net()
    x = net.node("Reshape", net.head(net.relu(net.conv("image", 3, 4)), 4, 12), net.constant([0, 3, 4]))
    x = net.node("Cast", net.node("Clip", x, net.constant(0.0), net.constant(3.0)), to=7)
    x = net.node("Gather", net.constant(net.random.normal(size=(4, 3))), x)
    x = net.gemm(net.node("Reshape", x, net.constant([0, 36])), 36, 5)
    _assert_every_width_is_exact(net.model(x), run_model, images)
