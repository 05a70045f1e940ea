"""pymoo's algorithms on vectors of indices: one generation proposed, completed by its caller, told.

What pymoo leaves to its caller is done here: a genome of the archive is never proposed again (pymoo compares with its
current population only), and what failed is told as infeasible, never as NaN, which would enter the population.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from edgepareto.host.domain import Axis
from numpy.typing import NDArray

__all__ = ["EVOLUTIONARY", "Evolution", "Key"]

EVOLUTIONARY = ("nsga2", "spea2", "sms-emoa")
FAILED_VIOLATION = 1e3  # larger than any limit is exceeded by in earnest
Key: TypeAlias = tuple[int, ...]  # indices of a canonical genome
Array: TypeAlias = NDArray[np.float64]


class Evolution:
    """`propose`, `complete` with what is really evaluated, `learn`; then again. Unordered genes have operators of their
    own (`mating`)."""

    def __init__(
        self,
        algorithm: str,
        axes: Sequence[Axis],
        start: Sequence[Key],
        *,
        archive: Collection[Key],
        canonical: Callable[[Key], Key],
        objectives: int,
        limits: int,
        population: int,
        seed: int,
    ) -> None:
        """start: proposed first. archive: looked into at every proposal, its owner may add to it. canonical: the one
        form of the same genome. Raises ValueError for an unknown algorithm."""
        from pymoo.core.problem import Problem

        self._worst: Array = np.zeros(objectives)
        sizes = np.array([axis.size for axis in axes])
        self._problem = Problem(
            n_var=len(axes),
            n_obj=objectives,
            n_ieq_constr=limits + 1,  # the last one: evaluated at all
            xl=np.zeros(len(axes)),
            xu=sizes - 1,
            vtype=int,
        )
        unseen = _UnseenOnly(archive, canonical)
        self._algorithm = _algorithm(algorithm, axes, np.array(start), unseen, population)
        self._algorithm.setup(self._problem, seed=seed)

    def propose(self, count: int = 0) -> list[Key]:
        """The start, then one generation whatever the count; fewer where the mating found less that is unseen."""
        del count
        offspring = self._algorithm.ask()
        return [] if offspring is None else [_key(individual.X) for individual in offspring]

    def complete(self, keys: Sequence[Key]) -> None:
        """What is evaluated, at least one: what was proposed and more, or something else."""
        from pymoo.core.population import Population

        self._infills = Population.new(X=np.array(keys))

    def learn(self, costs: Sequence[Sequence[float] | None], violations: Sequence[Sequence[float]]) -> None:
        """Of the keys of `complete`, in order. costs None: it failed; violations: by how much each limit is exceeded,
        <= 0 is feasible."""
        from pymoo.core.evaluator import Evaluator
        from pymoo.problems.static import StaticProblem

        known = [row for row in costs if row is not None]
        if known:
            self._worst = np.max(known, axis=0)
        limits = self._problem.n_ieq_constr - 1
        objectives = [self._worst if row is None else row for row in costs]
        exceeded = [
            (FAILED_VIOLATION,) * (limits + 1) if row is None else (*(min(v, FAILED_VIOLATION) for v in by), 0.0)
            for row, by in zip(costs, violations, strict=True)
        ]
        told = StaticProblem(self._problem, F=np.array(objectives, dtype=float), G=np.array(exceeded, dtype=float))
        Evaluator().eval(told, self._infills)
        self._algorithm.tell(infills=self._infills)


class _UnseenOnly:
    """pymoo's duplicate elimination against everything ever told, so that mating retries until genomes are new."""

    def __init__(self, archive: Collection[Key], canonical: Callable[[Key], Key]) -> None:
        self._archive = archive
        self._canonical = canonical

    def do(self, candidates: _Population, *others: _Population) -> _Population:
        seen = {_key(individual.X) for other in others for individual in other}
        kept = []
        for place, individual in enumerate(candidates):
            key = self._canonical(_key(individual.X))
            if key not in seen and key not in self._archive:
                individual.X = np.array(key)
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
    name: str, axes: Sequence[Axis], start: NDArray[np.int64], unseen: _UnseenOnly, population: int
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
        "eliminate_duplicates": unseen,
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
        raise ValueError(f"unknown algorithm {name!r}; known are {', '.join(EVOLUTIONARY)}")
    algorithm.termination = NoTermination()  # budgets are the study's
    if any(axis.values is None or axis.is_free for axis in axes):
        from edgepareto.host.search.mating import MixedMating

        algorithm.mating = MixedMating(
            algorithm.mating.selection,
            options["crossover"],
            options["mutation"],
            axes=axes,
            eliminate_duplicates=options["eliminate_duplicates"],
        )
    found: _Algorithm = algorithm
    return found


def _key(vector: NDArray[np.int64]) -> Key:
    return tuple(int(value) for value in vector)
