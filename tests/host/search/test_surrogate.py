"""The parts of the search that learns: what it knows of a space, what it foresees, and how it chooses a batch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from edgepareto.host.domain import Axis, ChannelGene, Genome, PruningSpace, allowed_widths
from edgepareto.host.search import (
    CategoricalGene,
    HypervolumeScale,
    IntegerGene,
    Outcome,
    Search,
    SearchSpace,
    hypervolume,
)
from edgepareto.host.search.surrogate import strategy
from edgepareto.host.search.surrogate.column_kernel import MaternOfGroups
from edgepareto.host.search.surrogate.curves import shared_shape
from edgepareto.host.search.surrogate.descent import best_of_sums
from edgepareto.host.search.surrogate.forecast import Forecast
from edgepareto.host.search.surrogate.gain import Box, most_gain
from edgepareto.host.search.surrogate.objective_model import Learner
from edgepareto.host.search.surrogate.smoothing import smoothed
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.indicators.hv import HV
from sklearn.gaussian_process.kernels import Matern

WIDTHS = Axis(size=6, values=tuple((i + 1) / 6 for i in range(6)), is_size=True)
BRANCH = Axis(size=2, values=(0.0, 1.0), is_size=True)
FORMAT = Axis(size=4)
AXES = (WIDTHS, WIDTHS, WIDTHS, BRANCH, FORMAT)
EVERY = np.array(list(itertools.product(*(range(axis.size) for axis in AXES))))


def truth(genomes: np.ndarray) -> np.ndarray:
    """Each group in its own measure, a branch, a format, and two groups that only matter together."""
    kept = (genomes[:, :3] + 1) / 6
    curves = 0.2 * (1 - kept[:, 0]) ** 3 - 0.5 * np.log(kept[:, 1]) - 0.1 * np.log(kept[:, 2])
    together = 0.3 * np.maximum(0, kept[:, 0] - kept[:, 2])
    return curves + together + 0.4 * (1 - genomes[:, 3]) + np.array([0.0, 0.1, -0.2, 0.05])[genomes[:, 4]]


def test_a_model_foresees_what_it_never_saw_and_knows_how_far_to_trust_itself() -> None:
    random = np.random.default_rng(0)
    known = random.choice(len(EVERY), 60, replace=False)
    values = truth(EVERY)
    model = Learner(AXES, None).fit(EVERY[known], values[known], search=True)
    unseen = np.setdiff1d(np.arange(len(EVERY)), known)
    prediction = model.predict(EVERY[unseen])
    missed = prediction.mean - values[unseen]
    assert 1 - np.mean(missed**2) / np.var(values[unseen]) > 0.95
    assert 0.3 < np.std(missed / prediction.deviation) < 3
    assert np.mean(np.abs(model.predict(EVERY[known]).mean - values[known])) < 0.02


def test_a_model_sees_through_noise_in_what_it_is_told() -> None:
    random = np.random.default_rng(1)
    known = random.choice(len(EVERY), 120, replace=False)
    values = truth(EVERY)
    told = values[known] + random.normal(0, 0.1, len(known))
    model = Learner(AXES, None).fit(EVERY[known], told, search=True)
    assert np.std(model.predict(EVERY[known]).mean - values[known]) < 0.07


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, -1.0]))
@settings(max_examples=30)
def test_the_shape_that_sizes_share_rises_or_falls_as_they_shrink_and_never_both(seed: int, sign: float) -> None:
    random = np.random.default_rng(seed)
    genomes = EVERY[random.choice(len(EVERY), 30, replace=False)]
    level, shape = shared_shape(AXES, genomes, sign * truth(genomes) + random.normal(0, 0.05, 30))
    assert np.isfinite(level)
    for curve in shape[:4]:
        assert curve[-1] == pytest.approx(0), "nothing is gone"
        assert (np.diff(curve) <= 1e-12).all() or (np.diff(curve) >= -1e-12).all()
    assert not shape[4].any(), "a format has no size"


@given(st.integers(0, 2**32 - 1), st.integers(2, 3), st.integers(1, 6))
@settings(max_examples=40)
def test_a_batch_is_what_a_search_of_all_would_choose_one_after_the_other(
    seed: int, objectives: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    front, points = random.random((4, objectives)), random.random((12, objectives))
    box = Box(front, 0.5, np.full(objectives, np.inf))
    chosen = most_gain(front, points, [points], count, box)
    known = box.scale(front)
    indicator = HV(ref_point=box.reference)

    def volume(costs: np.ndarray) -> float:
        inside = costs[(costs < box.reference).all(axis=1)]
        return float(indicator(inside)) if len(inside) else 0.0

    for place in chosen:
        gains = [volume(np.vstack([known, box.scale(points[i : i + 1])])) - volume(known) for i in range(len(points))]
        assert gains[place] == pytest.approx(max(gains), abs=1e-12)
        assert gains[place] > 0
        known = np.vstack([known, box.scale(points[place : place + 1])])
    if len(chosen) < count:
        assert volume(np.vstack([known, box.scale(points)])) == pytest.approx(volume(known), abs=1e-12)


@pytest.mark.parametrize("groups", [(0, 1, 2, 3, 4), (0, 0, 1, 2, 2)])
def test_columns_of_a_group_share_a_scale_and_its_slope_is_the_true_one(groups: tuple[int, ...]) -> None:
    points = np.random.default_rng(5).normal(size=(9, 5))
    scales = np.array([1.0, 2.0, 0.5, 3.0, 0.7])[: max(groups) + 1]
    kernel = MaternOfGroups(scales, (0.1, 10.0), groups)
    found, slopes = kernel(points, eval_gradient=True)
    np.testing.assert_allclose(found, Matern(scales[list(groups)], nu=2.5)(points))
    np.testing.assert_allclose(found[:, :4], kernel(points, points[:4]))
    for place in range(len(scales)):
        step = np.where(np.arange(len(scales)) == place, 1e-5, 0.0)
        further, nearer = (kernel.clone_with_theta(kernel.theta + sign * step)(points) for sign in (1, -1))
        np.testing.assert_allclose(slopes[:, :, place], (further - nearer) / 2e-5, atol=1e-8)


def test_a_search_that_asks_for_one_at_a_time_is_careful_and_daring_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    daring = []

    def gain(front: np.ndarray, expected: np.ndarray, levels: list[np.ndarray], count: int, box: Box) -> list[int]:
        daring.append(bool((levels[0] < levels[1]).all()))
        return most_gain(front, expected, levels, count, box)

    monkeypatch.setattr(strategy, "most_gain", gain)
    space = SearchSpace(genes=tuple(IntegerGene(name=name, values=tuple(range(1, 7))) for name in "abc"))
    search = Search("surrogate", space, objectives=2, limits=0, population=10, seed=0)
    for _ in range(20):
        search.tell([Outcome(genome=g, costs=(g[0] / 9, g[1] * g[2] - g[0])) for g in search.ask(1)])
    assert 6 <= sum(daring) <= len(daring) - 6


def test_models_that_were_too_sure_are_believed_less() -> None:
    known = np.random.default_rng(6).choice(len(EVERY), 40, replace=False)
    model = Learner(AXES, None).fit(EVERY[known], truth(EVERY[known]), search=True)
    sure, doubted = (
        Forecast(models=[model], limits=[], shares=[False], wider=np.array([wider])).costs(EVERY[:50])
        for wider in (1.0, 2.0)
    )
    np.testing.assert_array_equal(sure[0], doubted[0])
    for one, other in zip(sure[1:], doubted[1:], strict=True):
        np.testing.assert_allclose(sure[0] - other, 2 * (sure[0] - one))


def test_descent_finds_the_best_genome_of_a_sum_of_curves_for_every_exchange_rate() -> None:
    random = np.random.default_rng(2)
    objectives = [[random.normal(size=axis.size) for axis in AXES] for _ in range(2)]
    rates = random.dirichlet((1, 1), 20)
    found = {tuple(genome) for genome in best_of_sums(objectives, rates).tolist()}
    sums = np.stack([sum(curve[EVERY[:, gene]] for gene, curve in enumerate(curves)) for curves in objectives], axis=1)
    assert found == {tuple(EVERY[np.argmin(sums @ rate)].tolist()) for rate in rates}


def outcomes(search: Search[tuple[int | str, ...]], told: dict[tuple[int | str, ...], tuple[float, float]]) -> None:
    genomes = search.ask(10)
    search.tell([Outcome(genome=genome, costs=told[genome]) for genome in genomes])


def test_where_nothing_can_be_foreseen_the_next_batch_comes_from_evolution() -> None:
    genes = (*(IntegerGene(name=f"g{i}", values=tuple(range(1, 9))) for i in range(6)),)
    space = SearchSpace(genes=(*genes, CategoricalGene(name="c", choices=("a", "b"))))
    random = np.random.default_rng(3)
    search = Search("surrogate", space, objectives=2, limits=0, population=20, seed=0, shares=())
    explained = []
    for _ in range(12):
        genomes = search.ask(10)
        noise = random.normal(size=(len(genomes), 2)).tolist()
        search.tell([Outcome(genome=g, costs=tuple(values)) for g, values in zip(genomes, noise, strict=True)])
        assert genomes
        explained.append(search.explained)
    assert any(found is not None and sum(found) < 0 for found in explained)


def test_what_a_journal_says_was_asked_takes_the_place_of_what_is_asked_now() -> None:
    channels = allowed_widths(range(1, 65), 8)
    space = PruningSpace(genes=tuple(ChannelGene(name=f"g{i}", channels=64, widths=channels) for i in range(4)))

    def told(search: Search, genomes: tuple) -> None:
        costs = [(sum(g.widths) / -300 + 0.9, float(np.log(g.widths[0] * g.widths[3]))) for g in genomes]
        search.tell([Outcome(genome=g, costs=c) for g, c in zip(genomes, costs, strict=True)])

    first, second = (Search("surrogate", space, objectives=2, limits=0, population=8, seed=0) for _ in range(2))
    for search in (first, second):
        told(search, search.ask(6))
    asked = first.ask(6)
    other = tuple(space.uniform(0.99 - 0.01 * i) for i in range(3))
    second.ask(6)
    second.take(other)
    told(second, other)
    told(first, asked)
    assert not set(second.ask(6)) & set(other), "they count as asked"


def test_a_relative_with_less_noise_sharpens_a_cost_and_a_useless_one_leaves_it() -> None:
    random = np.random.default_rng(4)
    relative = random.gamma(1.0, 0.2, 60)
    true = 0.07 + 0.4 * relative / (1 + 0.3 * relative)
    noise = np.full(60, 0.005)
    told = true + random.normal(0, 0.005, 60)
    found = smoothed(told, noise, relative)
    assert np.std(found - true) < 0.5 * np.std(told - true)
    useless = smoothed(told, noise, random.random(60))
    assert np.std(useless - true) < 1.2 * np.std(told - true)
    unknown = np.where(np.arange(60) < 30, np.nan, relative)
    assert (smoothed(told, noise, unknown)[:30] == told[:30]).all()
    assert (smoothed(told[:5], noise[:5], relative[:5]) == told[:5]).all(), "too few to believe a relation"


CHANNELS = (64, 64, 128, 128, 256, 256)
NETWORKS = PruningSpace(
    genes=tuple(
        ChannelGene(name=f"g{i}", channels=c, widths=allowed_widths(range(1, c + 1), 8)) for i, c in enumerate(CHANNELS)
    )
)


def costs_on(pace: tuple[float, ...], genome: Genome) -> tuple[float, float]:
    """Error, the same on every board, and the logarithm of a latency in which layers weigh as `pace` says."""
    kept = np.array(genome.widths) / np.array(CHANNELS)
    error = 0.05 + float(np.sum(np.array([0.1, 0.1, 0.5, 0.5, 2.0, 2.0]) * (1 - kept) ** 2)) / 12
    latency = 0.1 + float(np.sum(np.array(pace) * kept * np.roll(kept, 1)))
    return error, float(np.log(latency))


def test_a_second_board_comes_in_40_measurements_near_what_it_would_reach_alone_in_100() -> None:
    first, second = (2.0, 1.5, 0.5, 0.7, 0.2, 0.1), (1.2, 2.2, 0.9, 0.4, 0.1, 0.3)
    scale = HypervolumeScale.spanned_by([costs_on(second, genome) for genome in NETWORKS.ladder()])

    def run(pace: tuple[float, ...], budget: int, known: tuple = ()) -> list[tuple[Genome, tuple[float, float]]]:
        search = Search(
            "surrogate", NETWORKS, objectives=2, limits=0, population=20, seed=1, most_lost=0.3, elsewhere=known
        )
        told: list[tuple[Genome, tuple[float, float]]] = []
        while len(told) < budget:
            found = [(genome, costs_on(pace, genome)) for genome in search.ask(10)]
            search.tell([Outcome(genome=genome, costs=costs) for genome, costs in found])
            told += found
        return told[:budget]

    known = tuple((genome, costs, True) for genome, costs in run(first, 60))
    enough, few, helped = (
        hypervolume([costs for _, costs in found], scale)
        for found in (run(second, 100), run(second, 40), run(second, 40, known))
    )
    assert helped > 0.97 * enough
    assert helped - few > 0.6 * (enough - few)


def test_a_measurement_is_hardly_below_its_least_and_of_models_that_proved_nothing_nobody_knows_it() -> None:
    space = PruningSpace(
        genes=tuple(ChannelGene(name=f"g{i}", channels=64, widths=allowed_widths(range(1, 65), 8)) for i in range(6))
    )
    random = np.random.default_rng(4)
    search = Search("surrogate", space, objectives=2, limits=0, population=20, seed=0)
    told, above = [], []
    for _ in range(8):
        genomes = search.ask(10)
        least = [search.least(genome) for genome in genomes]
        costs = [costs_on((1, 2, 1, 3, 1, 1), genome) for genome in genomes]
        costs = [(error, latency + float(random.normal(0, 0.02))) for error, latency in costs]
        told.append([found is not None for found in least])
        above += [cost[1] > found[1] for cost, found in zip(costs, least, strict=True) if found is not None]
        search.tell([Outcome(genome=g, costs=c) for g, c in zip(genomes, costs, strict=True)])
    assert not any(told[0])
    assert not any(told[1]), "the first batch of the models judges them"
    assert all(map(all, told[2:]))
    assert np.mean(above) > 0.95


def test_a_search_goes_on_from_scores_alone_where_it_was_spared_measurements() -> None:
    """What is known of the error then sharpens the error's model, and nothing is thought to have failed."""
    space = PruningSpace(
        genes=tuple(ChannelGene(name=f"g{i}", channels=64, widths=allowed_widths(range(1, 65), 8)) for i in range(6))
    )
    search = Search("surrogate", space, objectives=2, limits=0, population=20, seed=0)
    for turn in range(6):
        genomes = search.ask(10)
        costs = [costs_on((1, 2, 1, 3, 1, 1), genome) for genome in genomes]
        spared = [turn > 0 and place % 2 == 1 for place in range(len(genomes))]
        search.tell(
            [
                Outcome(genome=g, costs=None, first=c[0]) if is_spared else Outcome(genome=g, costs=c)
                for g, c, is_spared in zip(genomes, costs, spared, strict=True)
            ]
        )
    assert search.explained is not None
    assert min(search.explained) > 0.5
