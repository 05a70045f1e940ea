"""Ask and tell: what to evaluate next, on genomes of any space. Every algorithm behind one interface.

Generation 0 is the space's seeds, then random genomes or, for a search that learns, the space's probes; a genome that
was ever asked is never asked again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from edgepareto.host.search.evolution import EVOLUTIONARY, Evolution, Key
from edgepareto.host.search.space import Space
from edgepareto.host.search.surrogate import Elsewhere, Features, Surrogate

__all__ = ["ALGORITHM_NAMES", "Outcome", "Search", "search_seed"]

ALGORITHM_NAMES = ("surrogate", *EVOLUTIONARY, "random")
RANDOM_DRAWS = 1000
G = TypeVar("G")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[G]):
    """What came of one asked genome.

    costs: minimised, on scales where differences mean the same everywhere; None where it could not be evaluated.
    first: the first cost of what a search that learns was spared, costs being None.
    violation: by how much each of the user's limits is exceeded, <= 0 is feasible; ignored where costs is None.
    noise: standard deviation of the first cost; relative: another look at what it measures, >= 0 and rising with it,
    which a search that learns weighs against that noise. None: not known.
    """

    genome: G
    costs: tuple[float, ...] | None
    first: float | None = None
    violation: tuple[float, ...] = ()
    noise: float | None = None
    relative: float | None = None


class Search(Generic[G]):
    """One population on one device. Strictly alternates `ask` and `tell`; one thread.

    The same arguments and the same outcomes give the same genomes, whatever the timing: a study is resumed by asking
    and telling again from the start.
    """

    def __init__(
        self,
        algorithm: str,
        space: Space[G],
        *,
        objectives: int,
        limits: int,
        population: int,
        seed: int,
        shares: Collection[int] = (0,),
        features: Features | None = None,
        most_lost: float | None = None,
        elsewhere: Sequence[tuple[G, tuple[float, ...], bool]] = (),
    ) -> None:
        """objectives, limits: how many costs and violations an outcome carries. algorithm: one of ALGORITHM_NAMES.

        shares: which objectives are shares of 1, as an error is. features: of many genomes at once, for a search that
        learns: indices (n, genes) -> (n, features), what the costs may depend on beside the genes themselves.
        most_lost: how much worse than the best of the first objective it still looks for; None: any. elsewhere: what
        another device found: genomes, their costs there, and whether the first cost is true here too. Its front is
        asked first of all; a search that learns then needs no probes, and but every fifth seed.
        """
        self._space = space
        self._archive: set[Key] = set()
        self._asked: tuple[G, ...] | None = None
        self._population = population
        self._objectives = objectives
        self._sizes = [axis.size for axis in space.axes]
        self._random = np.random.default_rng([seed, 1])
        start = [space.encode(genome) for genome in space.seeds()]
        rows = [Elsewhere(key=space.encode(g), costs=costs, is_exact=exact) for g, costs, exact in elsewhere]
        if rows:
            fewer = [*start[:1], *start[5::5]] if algorithm == "surrogate" else start
            start = list(dict.fromkeys([*fewer, *_front(rows, population)]))
        elif algorithm == "surrogate":
            start = list(dict.fromkeys([*start, *(space.encode(genome) for genome in space.probes())]))
            start = list(dict.fromkeys([*start, *self._spread(population - len(start))]))
        start += self._unseen(population - len(start), set(start))
        self._strategy: _Strategy
        if algorithm == "surrogate":
            self._strategy = Surrogate(
                space.axes,
                start,
                archive=self._archive,
                canonical=space.canonical,
                shares=[place in shares for place in range(objectives)],
                limits=limits,
                features=features,
                most_lost=most_lost,
                elsewhere=rows,
                seed=seed,
            )
        elif algorithm == "random":
            self._strategy = _RandomSampling(start)
        else:
            self._strategy = Evolution(
                algorithm,
                space.axes,
                start,
                archive=self._archive,
                canonical=space.canonical,
                objectives=objectives,
                limits=limits,
                population=population,
                seed=seed,
            )

    @property
    def explained(self) -> tuple[float, ...] | None:
        """Per objective, of a search that learns: how much of what it measured last it had foreseen, 1 is all, below 0
        worse than a mean would have; None of others, and before anything was foreseen."""
        return self._strategy.explained if isinstance(self._strategy, Surrogate) else None

    def ask(self, count: int | None = None) -> tuple[G, ...]:
        """The next generation, of genomes never asked before; () where the search space seems exhausted.

        count: of a search that learns, how many; None: its population. Others have generations of one size.
        Raises RuntimeError where the last generation was not told yet: another one would be sampled.
        """
        if self._asked is not None:
            raise RuntimeError("ask was called twice: tell the outcomes of the last generation first")
        learns = isinstance(self._strategy, Surrogate)
        wanted = self._population if count is None or not learns else count
        proposed = self._strategy.propose(wanted)
        keys = [*proposed, *self._unseen(wanted - len(proposed), set(proposed) | self._archive)]
        if not keys:
            return ()
        self._strategy.complete(keys)
        self._asked = tuple(self._space.decode(key) for key in keys)
        return self._asked

    def take(self, genomes: Sequence[G]) -> None:
        """Instead of what was just asked, which may be nothing: what a journal says was asked, where another processor
        rounds otherwise."""
        self._strategy.complete([self._space.encode(genome) for genome in genomes])
        self._asked = tuple(genomes)

    def least(self, genome: G) -> tuple[float, ...] | None:
        """Of an asked genome, costs that a measurement will hardly be below, by what a search that learns has learnt;
        None where it cannot say."""
        if self._asked is None or genome not in self._asked:
            raise RuntimeError("least was called of a genome that is not asked")
        return self._strategy.least(self._space.encode(genome)) if isinstance(self._strategy, Surrogate) else None

    def tell(self, outcomes: Sequence[Outcome[G]]) -> None:
        """The outcomes of every asked genome, in ask order."""
        if self._asked is None or tuple(outcome.genome for outcome in outcomes) != self._asked:
            raise RuntimeError("tell takes the outcomes of the asked genomes, all of them, in ask order")
        self._archive.update(self._space.encode(genome) for genome in self._asked)
        if isinstance(self._strategy, Surrogate):
            self._strategy.hear([(outcome.noise, outcome.relative) for outcome in outcomes])
        self._strategy.learn([self._costs(outcome) for outcome in outcomes], [o.violation for o in outcomes])
        self._asked = None

    def _costs(self, outcome: Outcome[G]) -> tuple[float, ...] | None:
        """NaN, in here alone, is what a search that learns was spared."""
        if outcome.costs is not None or outcome.first is None or not isinstance(self._strategy, Surrogate):
            return outcome.costs
        return (outcome.first, *(math.nan,) * (self._objectives - 1))

    def _spread(self, count: int) -> list[Key]:
        """A Latin hypercube: each gene's choices equally often. McKay, Beckman & Conover, Technometrics 21(2), 1979."""
        columns = [self._random.permutation(np.arange(max(count, 0)) * size // max(count, 1)) for size in self._sizes]
        return [self._space.canonical(key) for key in zip(*(column.tolist() for column in columns), strict=True)]

    def _unseen(self, count: int, seen: set[Key]) -> Iterator[Key]:
        """Up to `count` random genomes outside `seen`; fewer where bounded draws find no more."""
        for _ in range(RANDOM_DRAWS):
            if count <= 0:
                return
            key = self._space.canonical(tuple(self._random.integers(0, self._sizes).tolist()))
            if key not in seen:
                seen.add(key)
                count -= 1
                yield key


def _front(rows: Sequence[Elsewhere], count: int) -> list[Key]:
    """Of up to `count` members of it, those that are furthest apart in the first cost, ends included."""
    members = [row for row in rows if not any(_dominates(other.costs, row.costs) for other in rows)]
    members.sort(key=lambda row: (row.costs[0], row.key))
    places = np.unique(np.linspace(0, len(members) - 1, min(count, len(members))).round().astype(int))
    return [members[place].key for place in places.tolist()]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


class _Strategy(Protocol):
    """Proposes unseen genomes, about as many as wanted; hears what was added to them; learns what came of them: costs,
    None where it failed, and violations, <= 0 is feasible."""

    def propose(self, count: int) -> list[Key]: ...
    def complete(self, keys: Sequence[Key]) -> None: ...
    def learn(self, costs: Sequence[Sequence[float] | None], violations: Sequence[Sequence[float]]) -> None: ...


class _RandomSampling:
    """Generation 0 like every search, random genomes ever after: what a search must beat."""

    def __init__(self, start: Sequence[Key]) -> None:
        self._start = list(start)

    def propose(self, count: int) -> list[Key]:
        del count
        start, self._start = self._start, []
        return start

    def complete(self, keys: Sequence[Key]) -> None:
        del keys

    def learn(self, costs: Sequence[Sequence[float] | None], violations: Sequence[Sequence[float]]) -> None:
        del costs, violations


def search_seed(seed: int, device: str) -> int:
    """A search of its own for each device, from the study's seed and the device's name."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{device}".encode()).digest()[:4], "big")
