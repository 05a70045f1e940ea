"""Decoding is total: whatever a search writes into a genome, the example nets become sound candidates."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.domain import Genome
from edgepareto.host.pruning import PreparedModel, analyse, prepare
from hypothesis import given, settings
from hypothesis import strategies as st
from models.silence import outputs_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "fashion_mnist"
NAMES = ("mobilenet", "resnet")
IMAGES = 24
any_integer = st.integers(-(2**70), 2**70)


@cache
def _prepared(name: str) -> PreparedModel:
    model = onnx.load(EXAMPLE / f"{name}.onnx")
    with np.load(EXAMPLE / "calibration.npz") as data:
        images = data["x"][:IMAGES].astype(np.float32)
    return prepare(analyse(model), {model.graph.input[0].name: images}, images=IMAGES)


def _assert_sound(prepared: PreparedModel, genome: Genome, recovery: str = "none") -> None:
    base = prepared.analysis.model
    pruned = prepared.prune(genome, recovery=recovery).model
    onnx.checker.check_model(pruned, full_check=True)
    assert (pruned.graph.input, pruned.graph.output) == (base.graph.input, base.graph.output)
    images = np.random.default_rng(0).uniform(0, 255, (2, 1, 28, 28)).astype(np.float32)
    (scores,) = outputs_of(pruned, {base.graph.input[0].name: images})
    assert scores.shape == (2, 10)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("step", "genomes", "recovery"), [(1, 300, "none"), (1, 10, "ls"), (8, 60, "none")])
def test_random_genomes_give_models_that_run(name, step, genomes, recovery):
    prepared = _prepared(name)
    genes = prepared.analysis.search_space(step).genes
    random = np.random.default_rng(step)
    for _ in range(genomes):
        widths = tuple(int(random.choice(gene.widths)) for gene in genes)
        _assert_sound(prepared, Genome(widths=widths), recovery)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(data=st.data(), step=st.sampled_from([1, 4, 8, 16]))
def test_any_integers_whatever_their_size_decode_to_a_model_that_runs(name, data, step):
    prepared = _prepared(name)
    space = prepared.analysis.search_space(step)
    indices = data.draw(st.lists(any_integer, min_size=len(space.axes), max_size=len(space.axes)))
    genome = space.decode(indices)
    assert all(width in gene.widths for gene, width in zip(space.genes, genome.widths, strict=True))
    assert space.decode(space.encode(genome)) == genome
    _assert_sound(prepared, genome)


@pytest.mark.parametrize("step", [1, 4, 8, 16])
@pytest.mark.parametrize("name", NAMES)
def test_every_allowed_width_is_a_multiple_of_the_step_or_the_original(name, step):
    groups, genes = _prepared(name).analysis.groups, _prepared(name).analysis.search_space(step).genes
    for group, gene in zip(groups, genes, strict=True):
        assert (gene.name, gene.channels, gene.widths[-1]) == (group.name, group.channels, group.channels)
        assert gene.widths == (*range(step, group.channels, step), group.channels)


@pytest.mark.parametrize("step", [2, 3, 4, 8, 16])
def test_a_step_takes_widths_away_and_adds_none(model, step):
    """In nets with heads, which count by their features, and with blocks that lose equally many, too."""
    analysis = analyse(model)
    for group, gene in zip(analysis.groups, analysis.search_space(step).genes, strict=True):
        assert set(gene.widths) == {w for w in group.widths if w * group.features % step == 0} | {group.channels}


def test_a_genome_of_another_length_is_refused():
    space = _prepared("resnet").analysis.search_space()
    for indices in ([], [0] * (len(space.axes) + 1)):
        with pytest.raises(AssertionError):
            space.decode(indices)
