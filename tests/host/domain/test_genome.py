from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from edgepareto.host.domain import (
    BranchGene,
    ChannelGene,
    Deployment,
    DeploymentGenes,
    Genome,
    PruningSpace,
    Recipe,
    allowed_widths,
    candidate_id,
)
from hypothesis import given
from hypothesis import strategies as st

genes = st.builds(
    lambda channels, step: ChannelGene(
        name="g", channels=channels, widths=allowed_widths(range(1, channels + 1), step)
    ),
    st.integers(1, 300),
    st.sampled_from([1, 4, 8, 16]),
)
formats = st.sampled_from([("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("litert", "fp32"), ("litert", "int8")])
deployments = st.builds(
    lambda chosen, threads, modes: DeploymentGenes(
        formats=tuple(chosen), threads=tuple(sorted(threads)), clock_modes=tuple(modes), usual_threads=min(threads)
    ),
    st.lists(formats, min_size=1, unique=True),
    st.sets(st.integers(1, 8), min_size=1, max_size=4),
    st.lists(st.sampled_from(["", "600MHz", "1800MHz"]), min_size=1, unique=True),
)


def nested(groups: int, parts: list[tuple[int, int]]) -> tuple[BranchGene, ...]:
    """Branch i holds the groups of its part and of the branches before it that its part holds whole, as (from, to)."""
    spans = [sorted((a % (groups + 1), b % (groups + 1))) for a, b in parts]
    return tuple(
        BranchGene(
            name=f"b{i}",
            inside=tuple(range(*span)),
            branches=tuple(
                j
                for j, (low, high) in enumerate(spans)
                if span[0] <= low < high <= span[1] and (spans[j] != span) and j != i
            ),
        )
        for i, span in enumerate(spans)
    )


spaces = st.builds(
    lambda found, ways, parts: PruningSpace(genes=tuple(found), deployments=ways, branches=nested(len(found), parts)),
    st.lists(genes, min_size=1, max_size=6),
    st.just(DeploymentGenes()) | deployments,
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=4),
)


def sizes_of(space: PruningSpace) -> list[int]:
    return [axis.size for axis in space.axes]


@given(spaces, st.data())
def test_any_indices_decode_to_an_allowed_genome_and_encoding_inverts_it(
    space: PruningSpace, data: st.DataObject
) -> None:
    indices = [data.draw(st.integers(-5, size + 5)) for size in sizes_of(space)]
    genome = space.decode(indices)
    assert all(width in gene.widths for width, gene in zip(genome.widths, space.genes, strict=True))
    assert space.decode(space.encode(genome)) == genome
    assert space.encode(genome) == space.canonical(indices)
    assert sum(axis.is_size for axis in space.axes) == len(space.genes) + len(space.branches)


@given(spaces, st.data())
def test_what_is_inside_a_dropped_branch_makes_no_other_genome(space: PruningSpace, data: st.DataObject) -> None:
    indices = [data.draw(st.integers(0, size - 1)) for size in sizes_of(space)]
    first = len(space.genes)
    for place, branch in enumerate(space.branches, start=first):
        if indices[place]:
            continue
        inside = [*branch.inside, *(first + inner for inner in branch.branches)]
        others = [
            data.draw(st.integers(0, size - 1)) if at in inside else index
            for at, (index, size) in enumerate(zip(indices, sizes_of(space), strict=True))
        ]
        genome = space.decode(others)
        assert genome == space.decode(indices)
        assert all(genome.widths[at] == space.genes[at].widths[0] for at in branch.inside)
        assert {branch.name, *(space.branches[inner].name for inner in branch.branches)} <= set(genome.dropped)


@given(spaces)
def test_probes_change_one_gene_of_the_half_width_rung_and_repeat_nothing(space: PruningSpace) -> None:
    rung, probes = space.uniform(0.5), space.probes()
    assert len(set(probes)) == len(probes) <= len(space.genes) + len(space.branches)
    assert rung not in probes
    for branch in space.branches:
        assert space.without(rung, branch.name) in probes
    for place, gene in enumerate(space.genes):
        if min(gene.widths) <= gene.channels / 4 < gene.channels / 2 <= gene.channels - 8:
            assert sum(probe.widths[place] < rung.widths[place] and not probe.dropped for probe in probes) == 1


@given(spaces)
def test_the_ladder_starts_dense_never_widens_and_repeats_nothing(space: PruningSpace) -> None:
    rungs = space.ladder()
    assert rungs[0] == space.dense()
    assert len(set(rungs)) == len(rungs) <= 20
    for wide, narrow in itertools.pairwise(rungs):
        assert all(a >= b for a, b in zip(wide.widths, narrow.widths, strict=True))


@given(spaces)
def test_seeds_are_the_ladder_run_in_turn_in_every_way_and_the_dense_model_in_each(space: PruningSpace) -> None:
    seeds, offered = space.seeds(), space.deployments
    assert seeds[0] == space.dense()
    assert len(set(seeds)) == len(seeds)
    assert {seed.widths for seed in seeds} == {rung.widths for rung in space.ladder()}
    dense = {seed.deployment for seed in seeds if seed.widths == space.dense().widths}
    assert {way.format for way in dense} == set(offered.formats)
    assert {way.clock_mode for way in dense} == set(offered.clock_modes)
    assert {way.threads for way in dense} == {offered.usual_threads, offered.threads[-1]}
    if offered == DeploymentGenes():
        assert seeds == space.ladder()


def test_widths_are_multiples_of_the_step_and_the_original() -> None:
    assert allowed_widths(range(1, 21), 8) == (8, 16, 20)
    assert allowed_widths(range(1, 9), 8) == (8,)
    assert allowed_widths((1, 2, 3), 8) == (3,)
    assert allowed_widths((12, 24, 36), 8) == (24, 36)


def test_a_candidate_is_named_by_every_input_it_was_made_from() -> None:
    names = {
        candidate_id(base, Genome(widths=widths), recipe, data)
        for base in ("a", "b")
        for widths in ((8, 16), (16, 8))
        for recipe in (Recipe(), Recipe(criterion="l1"), Recipe(recovery="none"), Recipe(images=1024))
        for data in ("x", "y")
    }
    assert len(names) == 32


def test_every_way_to_run_it_is_another_candidate_and_the_usual_one_is_named_as_ever() -> None:
    ways = [
        Deployment(),
        Deployment(runtime="litert"),
        Deployment(precision="int8"),
        Deployment(threads=2),
        Deployment(clock_mode="600MHz"),
    ]
    names = [candidate_id("a", Genome(widths=(8,), deployment=way), Recipe(), "x") for way in ways]
    assert len(set(names)) == len(ways)
    assert names[0] == "1dda4ba04e91"  # another value would lose every stored study
    assert names[2] == "307250d1f5f9"


def test_a_network_without_a_branch_is_another_candidate() -> None:
    genomes = [Genome(widths=(8,), dropped=dropped) for dropped in ((), ("a",), ("b",), ("a", "b"))]
    genomes += [replace(genome, deployment=Deployment(threads=2)) for genome in genomes]
    assert len({candidate_id("a", genome, Recipe(), "x") for genome in genomes}) == 8


def test_a_width_that_is_not_allowed_is_no_genome_of_the_space() -> None:
    space = PruningSpace(genes=(ChannelGene(name="g", channels=16, widths=(8, 16)),))
    with pytest.raises(ValueError, match="not in tuple"):
        space.encode(Genome(widths=(12,)))
    with pytest.raises(ValueError, match="layer1: no branch of this space"):
        space.encode(Genome(widths=(8,), dropped=("layer1",)))
