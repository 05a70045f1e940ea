"""No network, however odd, and no genome gives an invalid candidate: properties on random networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from edgepareto.host.domain import Genome, PruningSpace
from edgepareto.host.pruning import Analysis, PreparedModel, analyse, prepare
from edgepareto.host.pruning.inference import ORT_ERRORS
from edgepareto.host.pruning.slice_model import kept_classes
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from models.random_graphs import RandomNet, feeds_of, random_net
from models.silence import outputs_of, relative_difference, silenced
from models.zeroed import zeroed

pytestmark = pytest.mark.filterwarnings("error")
few = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@st.composite
def nets(draw: st.DrawFn) -> RandomNet:
    net = random_net(lambda options: draw(st.integers(0, options - 1)))
    try:
        onnx.checker.check_model(net.model, full_check=True)
        outputs = outputs_of(net.model, feeds_of(net.model, batches(net.model)[-1]))
    except (*ORT_ERRORS, onnx.shape_inference.InferenceError):
        outputs = []
    assume(outputs)
    assume(all(np.isfinite(output).all() for output in outputs))
    return net


def batches(model: onnx.ModelProto) -> list[int]:
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return [fixed] if fixed else [1, 2]


def genomes(draw: Callable[[st.SearchStrategy[int]], int], space: PruningSpace) -> list[Genome]:
    """All at their smallest, each of a few alone at its smallest, all without any branch, and any."""
    dense = space.dense().widths
    smallest = [gene.widths[0] for gene in space.genes]
    alone = [(*dense[:i], smallest[i], *dense[i + 1 :]) for i in range(min(3, len(smallest)))]
    drawn = space.decode([draw(st.integers(0, axis.size - 1)) for axis in space.axes])
    shortest = space.without(space.dense(), *(branch.name for branch in space.branches))
    return [*(Genome(widths=tuple(widths)) for widths in (smallest, *alone)), shortest, drawn]


def ranked(analysis: Analysis) -> PreparedModel:
    return prepare(analysis, None, criterion="l1")


@few
@given(net=nets(), data=st.data())
def test_any_cut_of_any_network_is_a_sound_model_with_the_same_inputs_and_outputs(net, data):
    before = net.model.SerializeToString()
    analysis = analyse(net.model)
    for genome in genomes(data.draw, analysis.search_space(data.draw(st.sampled_from([1, 1, 4, 8])))):
        pruned = ranked(analysis).prune(genome, recovery="none").model
        onnx.checker.check_model(pruned, full_check=True)
        assert (pruned.graph.input, pruned.graph.output) == (net.model.graph.input, net.model.graph.output)
        assert pruned.metadata_props == net.model.metadata_props
        for batch in batches(net.model):
            feeds = feeds_of(net.model, batch)
            seen, wanted = outputs_of(pruned, feeds), outputs_of(net.model, feeds)
            assert [output.shape for output in seen] == [output.shape for output in wanted]
    assert net.model.SerializeToString() == before, "the base is never changed"


@few
@given(net=nets(), data=st.data())
def test_cutting_channels_and_branches_that_are_zero_changes_no_output_of_any_network(net, data):
    analysis = analyse(net.model)
    assume(net.quiet or not net.sums)
    prepared = ranked(analysis)
    feeds = feeds_of(net.model, batches(net.model)[-1])
    for genome in genomes(data.draw, analysis.search_space()):
        seen = outputs_of(prepared.prune(genome, recovery="none").model, feeds)
        silent = silenced(analysis, kept_classes(analysis, prepared.importance, genome), readers_too=not net.quiet)
        gone = {branch.output for branch in analysis.branches if branch.name in genome.dropped}
        assert relative_difference(seen, outputs_of(zeroed(silent, gone), feeds)) < 1e-5


@few
@given(net=nets(), data=st.data())
def test_a_cut_of_any_network_is_counted_as_if_it_were_analysed_anew(net, data):
    analysis = analyse(net.model)
    for genome in genomes(data.draw, analysis.search_space()):
        pruned = ranked(analysis).prune(genome, recovery="none")
        again = analyse(pruned.model)
        assert (again.macs, again.parameters) == (pruned.macs, pruned.parameters)


@few
@given(net=nets(), data=st.data(), criterion=st.sampled_from(["obs", "l2", "activation"]))
def test_any_network_can_be_repaired_and_stays_finite(net, data, criterion):
    analysis = analyse(net.model)
    prepared = prepare(analysis, feeds_of(net.model, 24, seed=1), criterion=criterion, images=24)
    genome = genomes(data.draw, analysis.search_space())[-1]
    for recovery in ("ls", "moment"):
        repaired = prepared.prune(genome, recovery=recovery).model
        onnx.checker.check_model(repaired, full_check=True)
        for batch in batches(net.model):
            assert all(np.isfinite(output).all() for output in outputs_of(repaired, feeds_of(net.model, batch)))


@few
@given(net=nets())
def test_the_dense_genome_gives_any_network_back_bit_by_bit(net):
    analysis = analyse(net.model)
    dense = ranked(analysis).prune(analysis.search_space().dense(), recovery="none")
    assert dense.content == analysis.model.SerializeToString(deterministic=True)
    feeds = feeds_of(net.model, batches(net.model)[-1])
    assert relative_difference(outputs_of(dense.model, feeds), outputs_of(net.model, feeds)) < 1e-5
