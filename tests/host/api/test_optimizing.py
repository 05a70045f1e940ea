"""The search alone: ask and tell over any genes, refusing what does not fit, the same for the same seed."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from edgepareto.host.api import CategoricalGene, IntegerGene, Optimizer, SearchSpace
from edgepareto.host.errors import ConfigError
from edgepareto.host.search import ALGORITHM_NAMES, HypervolumeScale, hypervolume

Genome = tuple["int | str", ...]
ROOT = Path(__file__).resolve().parents[3]
WIDTHS = (8, 16, 24, 32, 48, 64)
SPACE = SearchSpace(
    genes=(
        IntegerGene(name="first", values=WIDTHS, is_size=True),
        IntegerGene(name="second", values=WIDTHS, is_size=True),
        IntegerGene(name="third", values=WIDTHS, is_size=True),
        CategoricalGene(name="kernel", choices=("3x3", "5x5", "7x7")),
        CategoricalGene(name="activation", choices=("relu", "swish")),
    )
)
WORTH = {"3x3": 0.0, "5x5": -0.1, "7x7": 0.02, "relu": 0.0, "swish": -0.03}
PACE = {"3x3": 1.0, "5x5": 1.7, "7x7": 2.9, "relu": 1.0, "swish": 1.2}


def measured(genome: Genome) -> tuple[float, float]:
    """Error and latency in seconds, with interactions that no sum of genes has."""
    first, second, third = (int(width) / 64 for width in genome[:3])
    kernel, activation = str(genome[3]), str(genome[4])
    log_odds = -1.5 - first - 0.5 * second - 1.5 * min(second, third) + WORTH[kernel] + WORTH[activation] * third
    latency_s = 1e-3 + 4e-3 * first * second * PACE[kernel] + 1e-3 * second * third * PACE[activation]
    return 1 / (1 + math.exp(-log_odds)), latency_s


def size(genome: Genome) -> Sequence[float]:
    first, second, third = (int(width) / 64 for width in genome[:3])
    return (math.log(first * second * PACE[str(genome[3])]), math.log(second * third))


def front_found(optimizer: Optimizer, budget: int, *, at_once: int = 5) -> float:
    """Of the whole space's hypervolume, after `budget` measurements."""
    costs: list[tuple[float, float]] = []
    while len(costs) < budget and (genomes := optimizer.ask(min(at_once, budget - len(costs)))):
        results = [measured(genome) for genome in genomes]
        optimizer.tell(genomes, results)
        costs += [(error, math.log(latency_s)) for error, latency_s in results]
    every = itertools.product(WIDTHS, WIDTHS, WIDTHS, ("3x3", "5x5", "7x7"), ("relu", "swish"))
    truth = [(error, math.log(latency_s)) for error, latency_s in map(measured, every)]
    scale = HypervolumeScale.spanned_by(truth)
    return hypervolume(costs, scale) / hypervolume(truth, scale)


def test_the_documents_example_runs_as_it_stands() -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "search.md").read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(compile(code.group(1), "search.md", "exec"), names)
    optimizer = names["optimizer"]
    assert isinstance(optimizer, Optimizer)
    assert len(optimizer.ask(5)) == 5


@pytest.mark.parametrize("features", [None, size])
def test_it_finds_in_half_the_measurements_more_than_the_best_of_the_others(
    features: Callable[[Genome], Sequence[float]] | None,
) -> None:
    def median(algorithm: str, budget: int) -> float:
        found = [
            front_found(
                Optimizer(SPACE, objectives=("share", "log"), algorithm=algorithm, seed=seed, features=features), budget
            )
            for seed in range(3)
        ]
        return float(np.median(found))

    ours = median("surrogate", 40)
    assert ours > 0.97
    assert ours > max(median(name, 80) for name in ("nsga2", "sms-emoa"))


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_the_same_seed_and_results_give_the_same_genomes_and_none_twice(algorithm: str) -> None:
    def asked(seed: int) -> list[Genome]:
        optimizer = Optimizer(SPACE, objectives=("share", "log"), algorithm=algorithm, seed=seed, population=12)
        found: list[Genome] = []
        while len(found) < 40:
            genomes = optimizer.ask(7)
            optimizer.tell(genomes, [measured(genome) for genome in genomes])
            found += genomes
        return found

    first = asked(1)
    assert first == asked(1) != asked(2)
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("algorithm", ALGORITHM_NAMES)
def test_a_search_begins_with_what_the_user_knows_and_ends_when_all_is_measured(algorithm: str) -> None:
    known = ((3, "a"), (1, "b"))
    space = SearchSpace(
        genes=(IntegerGene(name="n", values=(1, 2, 3)), CategoricalGene(name="c", choices=("a", "b"))), start=known
    )
    optimizer = Optimizer(space, objectives=("linear", "linear"), algorithm=algorithm, population=4)
    asked: list[Genome] = []
    while genomes := optimizer.ask(2):
        optimizer.tell(genomes, [(float(genome[0]), -float(genome[0])) for genome in genomes])
        asked += genomes
    assert tuple(asked[:2]) == known
    assert sorted(asked) == sorted(itertools.product((1, 2, 3), "ab"))


def test_results_come_in_any_order_and_what_could_not_be_measured_or_breaks_a_limit_is_told_so() -> None:
    optimizer = Optimizer(SPACE, objectives=("share", "log"), seed=3, population=16)
    shares = []
    for _ in range(8):
        genomes = optimizer.ask(10)
        results = [None if genome[0] == 8 else measured(genome) for genome in genomes]
        allowed = [genome[3] != "7x7" for genome in genomes]
        shares.append(np.mean([r is not None and a for r, a in zip(results, allowed, strict=True)]))
        for part in (slice(5, None), slice(0, 5)):
            optimizer.tell(genomes[part], results[part], allowed[part])
    assert np.mean(shares[-3:]) > 0.8 > shares[0]


def test_what_does_not_fit_is_one_line_and_nothing_of_it_is_taken_in() -> None:
    optimizer = Optimizer(SPACE, objectives=("share", "log"))
    genomes = optimizer.ask(2)
    good = [measured(genome) for genome in genomes]
    for told, message in (
        ((genomes, good[:1]), "2 genomes, 1 results"),
        ((genomes, [good[0], (0.1,)]), "1 objectives were told, this search has 2"),
        ((genomes, [good[0], (0.1, math.nan)]), "an objective is nan; where it could not be measured, tell None"),
        ((genomes, [good[0], (90.0, 0.1)]), "on the scale share is 90.0, which is not within 0..1"),
        ((genomes, [good[0], (0.9, 0.0)]), "on the scale log is 0.0, which is not above 0"),
        (([(8, 8, 8, "3x3", "gelu")], good[:1]), "was not asked, or was told before"),
        (([genomes[0], genomes[0]], good), "was not asked, or was told before"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)) as caught:
            optimizer.tell(*told)
        assert "\n" not in str(caught.value)
    optimizer.tell(genomes, good)
    for arguments, message in (
        ({"objectives": ("share", "seconds")}, "objectives seconds: give each its scale, of share, log, linear"),
        ({"objectives": ()}, "objectives none"),
        ({"objectives": ("log",), "algorithm": "tpe"}, "algorithm tpe is not known; choose surrogate"),
        ({"objectives": ("log",), "population": 3}, "population 3: at least 4"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            Optimizer(SPACE, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least 1"):
        optimizer.ask(0)


def test_more_is_asked_only_when_the_start_is_told() -> None:
    optimizer = Optimizer(SPACE, objectives=("share", "log"), population=8)
    first = [*optimizer.ask(5), *optimizer.ask(5)]
    assert len(first) == 8, "the start ends there"
    with pytest.raises(ConfigError, match="8 genomes were asked and not told yet"):
        optimizer.ask()
    optimizer.tell(first, [measured(genome) for genome in first])
    assert len(optimizer.ask(3)) == 3


def test_features_that_are_no_numbers_are_one_line() -> None:
    for features, message in (
        (lambda genome: (math.inf,), "each must be a finite number"),
        (lambda genome: (0.0,) * (1 + (genome[4] == "relu")), "the same number of values for every genome"),
    ):
        optimizer = Optimizer(SPACE, objectives=("share", "log"), features=features, population=8)
        genomes = optimizer.ask(8)
        optimizer.tell(genomes, [measured(genome) for genome in genomes])
        with pytest.raises(ConfigError, match=message):
            optimizer.ask()


def test_a_loop_goes_on_where_nothing_is_left_and_nonsense_is_said_in_words():
    space = SearchSpace(genes=(IntegerGene(name="width", values=(1, 2, 3)),))
    optimizer = Optimizer(space, objectives=("share", "log"))
    for _ in range(4):
        genomes = optimizer.ask(2)
        optimizer.tell(genomes, [(0.1, 1.0) for _ in genomes])
    assert optimizer.ask(1) == []
    with pytest.raises(ValueError, match="genes must have different names, got width, width"):
        SearchSpace(genes=space.genes * 2)
    with pytest.raises(ValueError, match="values must be integers"):
        IntegerGene(name="kernel", values=("3x3",))
    with pytest.raises(ConfigError, match=r'objectives "share": give the scale of each'):
        Optimizer(space, objectives="share")
    space = SearchSpace(genes=(IntegerGene(name="width", values=tuple(range(40))),))
    broken = Optimizer(space, objectives=("share", "log"), features=lambda genome: 3.0)
    genomes = broken.ask(20)
    broken.tell(genomes, [(0.1, 1.0 + place) for place in range(20)])
    with pytest.raises(ConfigError, match=r"features of \(\d+,\) are 3\.0; a row of numbers is wanted"):
        broken.ask(1)
