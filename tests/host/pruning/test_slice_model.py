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
