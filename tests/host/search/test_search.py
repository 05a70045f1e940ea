"""The ask and tell contract of every algorithm, and that the evolutionary ones pay on a problem with a known answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgepareto.host.domain import ChannelGene, DeploymentGenes, Genome, PruningSpace, allowed_widths
from edgepareto.host.search import ALGORITHM_NAMES, HypervolumeScale, Outcome, Search, hypervolume, search_seed

EVOLUTIONARY = tuple(name for name in ALGORITHM_NAMES if name not in ("surrogate", "random"))


def space_of(*channels: int, step: int = 8) -> PruningSpace:
    return PruningSpace(
        genes=tuple(
            ChannelGene(name=f"g{i}", channels=c, widths=allowed_widths(range(1, c + 1), step))
            for i, c in enumerate(channels)
        )
    )


SPACE = space_of(64, 64, 128, 128, 256, 256)


def costs_of(genome: Genome) -> tuple[float, float, float]:
    """A toy with a known structure: the first groups are slow and worthless, the last fast and precious."""
    kept = np.array(genome.widths) / np.array([64, 64, 128, 128, 256, 256])
    precious = np.array([0.1, 0.1, 0.5, 0.5, 2.0, 2.0])
    slow = precious[::-1]
    error = 0.05 + float(np.sum(precious * (1 - kept) ** 2)) / 10
    latency = 0.1 + float(np.sum(slow * kept))
    return error, float(np.log(latency)), float(np.log(2 * latency + 0.1 * kept[0]))


def run(algorithm: str, generations: int, seed: int = 0, space: PruningSpace = SPACE) -> list[Outcome]:
    search = Search(algorithm, space, objectives=3, limits=0, population=20, seed=seed)
    told: list[Outcome] = []
    for _ in range(generations):
        outcomes = [Outcome(genome=genome, costs=costs_of(genome)) for genome in search.ask()]
        search.tell(outcomes)
        told += outcomes
    return told


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_generation_0_is_the_dense_model_and_the_whole_ladder_even_beyond_the_population(algorithm: str) -> None:
    search = Search(algorithm, SPACE, objectives=3, limits=0, population=5, seed=3)
    first = search.ask()
    probes = SPACE.probes() if algorithm == "surrogate" else ()
    assert first == (*SPACE.ladder(), *probes)
    assert first[0] == SPACE.dense()


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_a_ladder_shorter_than_the_population_is_filled_with_random_genomes(algorithm: str) -> None:
    space = space_of(32, 48, 64)
    first = Search(algorithm, space, objectives=2, limits=0, population=20, seed=3).ask()
    assert len(first) == 20 == len(set(first))
    assert first[: len(space.ladder())] == space.ladder()


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_no_genome_is_proposed_twice_and_generations_stay_full(algorithm: str) -> None:
    told = run(algorithm, 8)
    first = len(SPACE.ladder()) + (len(SPACE.probes()) if algorithm == "surrogate" else 0)
    assert len({outcome.genome for outcome in told}) == len(told) == first + 7 * 20


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_the_same_seed_and_outcomes_give_the_same_genomes(algorithm: str) -> None:
    assert run(algorithm, 5, seed=7) == run(algorithm, 5, seed=7)
    assert run(algorithm, 5, seed=7) != run(algorithm, 5, seed=8)


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_asking_twice_or_telling_something_else_is_refused(algorithm: str) -> None:
    search = Search(algorithm, SPACE, objectives=3, limits=0, population=20, seed=0)
    asked = search.ask()
    with pytest.raises(RuntimeError, match="twice"):
        search.ask()
    with pytest.raises(RuntimeError, match="ask order"):
        search.tell([Outcome(genome=genome, costs=None) for genome in asked[1:]])


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_a_small_space_is_searched_to_its_end_and_then_answers_with_nothing(algorithm: str) -> None:
    space = space_of(16, 24)
    search = Search(algorithm, space, objectives=2, limits=0, population=4, seed=0)
    seen: list[Genome] = []
    for _ in range(20):
        genomes = search.ask()
        if not genomes:
            break
        seen += genomes
        search.tell([Outcome(genome=g, costs=(float(sum(g.widths)), -float(g.widths[0]))) for g in genomes])
    assert sorted(g.widths for g in seen) == sorted((a, b) for a in (8, 16) for b in (8, 16, 24))
    assert search.ask() == ()


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_failures_and_broken_limits_leave_the_population_to_the_feasible(algorithm: str) -> None:
    search = Search(algorithm, SPACE, objectives=3, limits=1, population=20, seed=1)
    shares = []
    for _ in range(12):
        outcomes = []
        for genome in search.ask():
            failed = genome.widths[0] < 32
            too_wide = genome.widths[5] / 128 - 1
            outcomes.append(Outcome(genome=genome, costs=None if failed else costs_of(genome), violation=(too_wide,)))
        shares.append(np.mean([o.costs is not None and o.violation[0] <= 0 for o in outcomes]))
        search.tell(outcomes)
    if algorithm != "random":
        assert np.mean(shares[-3:]) > 0.5 > shares[0]


def test_a_generation_of_failures_alone_ends_no_search() -> None:
    for algorithm in ALGORITHM_NAMES:
        search = Search(algorithm, SPACE, objectives=3, limits=0, population=20, seed=1)
        for _ in range(3):
            search.tell([Outcome(genome=genome, costs=None) for genome in search.ask()])
        assert len(search.ask()) == 20


@pytest.mark.parametrize("algorithm", [*EVOLUTIONARY, "surrogate"])
def test_evolution_beats_random_sampling(algorithm: str) -> None:
    scale = HypervolumeScale.spanned_by([costs_of(genome) for genome in SPACE.ladder()])

    def reached(name: str) -> float:
        volumes = []
        for seed in range(3):
            costs = [outcome.costs for outcome in run(name, 10, seed) if outcome.costs is not None]
            volumes.append(hypervolume(costs, scale))
        return float(np.median(volumes))

    assert reached(algorithm) > reached("random") + 0.01


def test_devices_search_on_their_own() -> None:
    assert search_seed(0, "pi1") != search_seed(0, "jetson2") != search_seed(1, "jetson2")
    assert search_seed(0, "pi1") == 1727509305  # another value would break every stored study


WAYS = DeploymentGenes(
    formats=(("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("litert", "fp32"), ("litert", "int8")),
    threads=(1, 2, 4),
    clock_modes=("600MHz", "1800MHz"),
    usual_threads=1,
)
MIXED = replace(SPACE, deployments=WAYS)
FACTORS = {("onnxruntime", "int8"): 0.7, ("litert", "fp32"): 0.8, ("litert", "int8"): 0.4}


def mixed_costs_of(genome: Genome) -> tuple[float, float, float]:
    """The fastest format is not the first, most threads draw the most, and 8 bits cost some accuracy."""
    error, log_latency, log_energy = costs_of(genome)
    way = genome.deployment
    speed = FACTORS.get(way.format, 1.0) * (1 + 1 / way.threads) * (0.5 if way.clock_mode == "1800MHz" else 1.0)
    power = 1 + 0.3 * way.threads
    quantised = 0.01 if way.precision == "int8" else 0.0
    return error + quantised, log_latency + float(np.log(speed)), log_energy + float(np.log(speed * power))


def run_mixed(algorithm: str, generations: int, seed: int = 0) -> list[list[Outcome]]:
    search = Search(algorithm, MIXED, objectives=3, limits=0, population=20, seed=seed)
    told = []
    for _ in range(generations):
        outcomes = [Outcome(genome=genome, costs=mixed_costs_of(genome)) for genome in search.ask()]
        search.tell(outcomes)
        told.append(outcomes)
    return told


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_ways_to_run_a_model_are_searched_with_its_channels_and_nothing_is_asked_twice(algorithm: str) -> None:
    told = run_mixed(algorithm, 6)
    asked = [outcome.genome for generation in told for outcome in generation]
    assert tuple(asked[: len(MIXED.seeds())]) == MIXED.seeds()
    assert len(set(asked)) == len(asked)
    assert all(MIXED.decode(MIXED.encode(genome)) == genome for genome in asked)
    assert told == run_mixed(algorithm, 6)


@pytest.mark.parametrize("algorithm", EVOLUTIONARY)
def test_evolution_finds_the_best_ways_to_run_a_model(algorithm: str) -> None:
    last = [outcome.genome.deployment for generation in run_mixed(algorithm, 12)[-3:] for outcome in generation]
    assert np.mean([way.clock_mode == "1800MHz" for way in last]) > 0.7, "the other mode is worse in all"
    assert np.mean([way.runtime == "litert" for way in last]) > 0.7


@pytest.mark.parametrize("algorithm", EVOLUTIONARY)
def test_a_share_of_children_is_a_parent_that_only_runs_otherwise_and_costs_no_new_file(algorithm: str) -> None:
    known: set[tuple[tuple[int, ...], tuple[str, str]]] = set()
    reused = []
    for generation in run_mixed(algorithm, 8):
        files = [(outcome.genome.widths, outcome.genome.deployment.format) for outcome in generation]
        reused.append(np.mean([file in known for file in files]))
        known.update(files)
    assert 0.05 < np.mean(reused[1:]) < 0.5
