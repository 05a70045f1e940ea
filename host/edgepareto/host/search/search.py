"""pymoo's algorithms behind ask and tell, on genomes instead of vectors.

What pymoo leaves to its caller is done here: generation 0 is the space's seeds and random genomes; a genome that was
ever told is never proposed again (pymoo compares with its current population only); a candidate that failed is told as
infeasible, never as NaN, which would enter the population.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from edgepareto.host.domain import GeneKind, Genome, PruningSpace
from numpy.typing import NDArray

__all__ = ["ALGORITHM_NAMES", "Outcome", "Search", "search_seed"]

ALGORITHM_NAMES = ("nsga2", "spea2", "sms-emoa", "random")
FAILED_VIOLATION = 1e3  # larger than any limit is exceeded by in earnest
RANDOM_DRAWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one asked genome.

    costs: minimised, on scales where differences mean the same everywhere; None where it could not be evaluated.
    violation: by how much each of the user's limits is exceeded, <= 0 is feasible; ignored where costs is None.
    """

    genome: Genome
    costs: tuple[float, ...] | None
    violation: tuple[float, ...] = ()


class Search:
    """One population on one device. Strictly alternates `ask` and `tell`; one thread.

    The same arguments and the same outcomes give the same genomes, whatever the timing: a study is resumed by asking
    and telling again from the start.
    """

    def __init__(
        self, algorithm: str, space: PruningSpace, *, objectives: int, limits: int, population: int, seed: int
    ) -> None:
        """objectives, limits: how many costs and violations an outcome carries. algorithm: one of ALGORITHM_NAMES."""
        self._space = space
        self._archive: set[tuple[int, ...]] = set()
        self._asked: tuple[Genome, ...] | None = None
        self._population = population
        self._random = np.random.default_rng([seed, 1])
        start = self._first_generation()
        self._strategy: _Strategy = (
            _RandomSampling(start)
            if algorithm == "random"
            else _Evolution(algorithm, space, start, self._archive, objectives, limits, population, seed)
        )

    def ask(self) -> tuple[Genome, ...]:
        """The next generation, of genomes never asked before; () where the search space seems exhausted.

        Raises RuntimeError where the last generation was not told yet: pymoo would sample another one.
        """
        if self._asked is not None:
            raise RuntimeError("ask was called twice: tell the outcomes of the last generation first")
        proposed = self._strategy.propose()
        keys = [*proposed, *self._unseen(self._population - len(proposed), set(proposed) | self._archive)]
        if not keys:
            return ()
        self._strategy.complete(keys)
        self._asked = tuple(self._space.decode(key) for key in keys)
        return self._asked

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """The outcomes of every asked genome, in ask order."""
        if self._asked is None or tuple(outcome.genome for outcome in outcomes) != self._asked:
            raise RuntimeError("tell takes the outcomes of the asked genomes, all of them, in ask order")
        self._archive.update(self._space.encode(genome) for genome in self._asked)
        self._strategy.learn(outcomes)
        self._asked = None

    def _first_generation(self) -> list[tuple[int, ...]]:
        keys = [self._space.encode(genome) for genome in self._space.seeds()]
        return [*keys, *self._unseen(self._population - len(keys), set(keys))]

    def _unseen(self, count: int, seen: set[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
        """Up to `count` random genomes outside `seen`; fewer where bounded draws find no more."""
        for _ in range(RANDOM_DRAWS):
            if count <= 0:
                return
            key = tuple(self._random.integers(0, self._space.sizes).tolist())
            if key not in seen:
                seen.add(key)
                count -= 1
                yield key


class _Strategy(Protocol):
    """Proposes unseen index vectors, hears what was added to them, learns from the outcomes."""

    def propose(self) -> list[tuple[int, ...]]: ...
    def complete(self, keys: Sequence[tuple[int, ...]]) -> None: ...
    def learn(self, outcomes: Sequence[Outcome]) -> None: ...


class _RandomSampling:
    """Generation 0 like every search, random genomes ever after: what a search must beat."""

    def __init__(self, start: list[tuple[int, ...]]) -> None:
        self._start = start

    def propose(self) -> list[tuple[int, ...]]:
        start, self._start = self._start, []
        return start

    def complete(self, keys: Sequence[tuple[int, ...]]) -> None:
        del keys

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        del outcomes


class _Evolution:
    """A pymoo algorithm on one integer index per gene; unordered ones have operators of their own (`mating`)."""

    def __init__(
        self,
        algorithm: str,
        space: PruningSpace,
        start: list[tuple[int, ...]],
        archive: set[tuple[int, ...]],
        objectives: int,
        limits: int,
        population: int,
        seed: int,
    ) -> None:
        from pymoo.core.problem import Problem

        self._worst: NDArray[np.float64] = np.zeros(objectives)
        self._problem = Problem(
            n_var=len(space.sizes),
            n_obj=objectives,
            n_ieq_constr=limits + 1,  # the last one: evaluated at all
            xl=np.zeros(len(space.sizes)),
            xu=np.array(space.sizes) - 1,
            vtype=int,
        )
        self._algorithm = _algorithm(algorithm, space, np.array(start), archive, population)
        self._algorithm.setup(self._problem, seed=seed)

    def propose(self) -> list[tuple[int, ...]]:
        offspring = self._algorithm.ask()  # None: the mating found nothing unseen
        return [] if offspring is None else [_key(individual.X) for individual in offspring]

    def complete(self, keys: Sequence[tuple[int, ...]]) -> None:
        from pymoo.core.population import Population

        self._infills = Population.new(X=np.array(keys))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        from pymoo.core.evaluator import Evaluator
        from pymoo.problems.static import StaticProblem

        known = [outcome.costs for outcome in outcomes if outcome.costs is not None]
        if known:
            self._worst = np.max(known, axis=0)
        limits = self._problem.n_ieq_constr - 1
        costs = [self._worst if outcome.costs is None else outcome.costs for outcome in outcomes]
        violations = [
            (FAILED_VIOLATION,) * (limits + 1)
            if outcome.costs is None
            else (*(min(v, FAILED_VIOLATION) for v in outcome.violation), 0.0)
            for outcome in outcomes
        ]
        told = StaticProblem(self._problem, F=np.array(costs, dtype=float), G=np.array(violations, dtype=float))
        Evaluator().eval(told, self._infills)
        self._algorithm.tell(infills=self._infills)


class _UnseenOnly:
    """pymoo's duplicate elimination against everything ever told, so that mating retries until genomes are new."""

    def __init__(self, archive: set[tuple[int, ...]]) -> None:
        self._archive = archive

    def do(self, candidates: _Population, *others: _Population) -> _Population:
        seen = self._archive | {_key(individual.X) for other in others for individual in other}
        kept = []
        for place, individual in enumerate(candidates):
            key = _key(individual.X)
            if key not in seen:
                seen.add(key)
                kept.append(place)
        return candidates[kept]


class _Individual(Protocol):
    X: NDArray[np.int64]


class _Population(Protocol):
    """What of pymoo's Population is used here."""

    def __iter__(self) -> Iterator[_Individual]: ...
    def __getitem__(self, places: list[int]) -> _Population: ...


class _Algorithm(Protocol):
    """What of pymoo's Algorithm is used here."""

    def setup(self, problem: object, *, seed: int) -> object: ...
    def ask(self) -> _Population | None: ...
    def tell(self, *, infills: object) -> object: ...


def _algorithm(
    name: str, space: PruningSpace, start: NDArray[np.int64], archive: set[tuple[int, ...]], population: int
) -> _Algorithm:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.algorithms.moo.sms import SMSEMOA
    from pymoo.algorithms.moo.spea2 import SPEA2, SPEA2Survival
    from pymoo.core.termination import NoTermination
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair

    options = {
        "pop_size": population,
        "sampling": start,
        "crossover": SBX(prob=0.9, eta=3, vtype=float, repair=RoundingRepair()),
        "mutation": PM(prob=1.0, eta=3, vtype=float, repair=RoundingRepair()),
        "eliminate_duplicates": _UnseenOnly(archive),
    }
    algorithm: Any
    if name == "nsga2":
        algorithm = NSGA2(**options)
    elif name == "spea2":
        # An instance of our own: pymoo's default one is shared by all SPEA2 and remembers its normalisation. The costs
        # are on common scales already (Estimate.costs: error linear, latency and energy logarithmic).
        algorithm = SPEA2(**options, survival=SPEA2Survival(normalize=False))
    elif name == "sms-emoa":
        algorithm = SMSEMOA(**options)
    else:
        raise ValueError(f"unknown algorithm {name!r}; known are {', '.join(ALGORITHM_NAMES)}")
    algorithm.termination = NoTermination()  # budgets are the study's
    if any(kind is not GeneKind.WIDTH for kind in space.kinds):
        from edgepareto.host.search.mating import MixedMating

        algorithm.mating = MixedMating(
            algorithm.mating.selection,
            options["crossover"],
            options["mutation"],
            kinds=space.kinds,
            sizes=space.sizes,
            eliminate_duplicates=options["eliminate_duplicates"],
        )
    found: _Algorithm = algorithm
    return found


def _key(vector: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(value) for value in vector)


def search_seed(seed: int, device: str) -> int:
    """A search of its own for each device, from the study's seed and the device's name."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{device}".encode()).digest()[:4], "big")
