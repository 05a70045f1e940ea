"""A search that learns from what it measures: one model per objective, a batch by what it may add to the front.

Genomes are looked for by evolution on optimistic predictions (`objective_model`), started from the front and from the
best genomes of the models' sums (`descent`); a batch is chosen by the hypervolume it may add (`gain`). Where the models
predicted the last batches worse than a mean would have, a batch comes from NSGA-II instead. Prior art: ParEGO (Knowles,
IEEE TEC 10(1), 2006), SMS-EGO (Ponweiser et al., PPSN X, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock

import numpy as np
from edgepareto.host.domain import Axis
from edgepareto.host.search.evolution import Evolution, Key
from edgepareto.host.search.surrogate.descent import best_of_sums
from edgepareto.host.search.surrogate.elsewhere import Elsewhere, with_models_of
from edgepareto.host.search.surrogate.forecast import OPTIMISM, Forecast, modelled, on_scale_of_costs
from edgepareto.host.search.surrogate.gain import Box, most_gain
from edgepareto.host.search.surrogate.objective_model import Features, Learner, ObjectiveModel
from edgepareto.host.search.surrogate.smoothing import smoothed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

__all__ = ["Surrogate"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
GENERATIONS, CHILDREN = 5, 100  # of an evolution on the models
EXCHANGE_RATES = 60
POOL = 300  # genomes that a batch is chosen from
MARGIN = 0.5  # beyond the box of the front: its ends may grow, too
SMALL_SPACE = 20_000  # genomes; all of them are looked at
LEAST_POINTS = 8  # known, before anything is modelled
JUDGED_BATCHES = 4  # of the last ones, that say whether the models are good
JUDGED_POINTS = 40  # of the last ones, that say whether they are as sure as they should be
TRUSTED = 5  # points before the first, about as far off as foreseen: what the models are trusted before they prove it
GROWTH = 1.25  # of what is known, before the models' scales are looked for again, which is what takes time
SURE = 2.5  # deviations, beyond which a measurement will hardly be
EVOLVED_SHARE = 0.1  # of a batch, from NSGA-II: what the models are wrong about together they do not find by themselves


_LIMITED = Lock()


class Surrogate:
    """See Strategy. Everything it does follows from the seed and what it was told."""

    def __init__(
        self,
        axes: Sequence[Axis],
        start: Sequence[Key],
        *,
        archive: Collection[Key],
        canonical: Callable[[Key], Key],
        shares: Sequence[bool],
        limits: int,
        features: Features | None,
        most_lost: float | None,
        elsewhere: Sequence[Elsewhere],
        seed: int,
    ) -> None:
        """start: proposed first. shares: per objective, whether its costs are shares of 1, modelled by their log-odds.
        limits: how many violations are told of each point. most_lost: how much worse than the best of the first
        objective is still worth a measurement; None: any. elsewhere: what another device found."""
        self._axes = axes
        self._start_with = list(start)
        self._archive = archive
        self._canonical = canonical
        self._shares = tuple(shares)
        self._limits = limits
        self._most_lost = math.inf if most_lost is None else most_lost
        self._random = np.random.default_rng([seed, 2])
        with _one_thread():
            known_features = with_models_of(elsewhere, axes, features, len(shares))
        self._learners = [Learner(axes, known_features) for _ in range(len(shares) + limits + 1)]
        self._shared = {row.key: row.costs[0] for row in elsewhere if row.is_exact}
        self._waiting: list[Key] = []
        self._keys: list[Key] = []
        self._costs: list[Sequence[float] | None] = []
        self._looks: list[tuple[float | None, float | None]] = []
        self._violations: list[Sequence[float]] = []
        self._predicted: dict[Key, Array] = {}
        self._forecast: Forecast | None = None  # of the last batch; None: the models proposed nothing
        self._beliefs: dict[Key, tuple[Array, Array]] = {}  # of what is being measured: means and deviations
        self._surprises: list[Array] = []  # of what was: squared distance from the mean, in deviations, per objective
        self._judged: list[tuple[Array, Array]] = []  # per batch: squared errors of the models, of a mean
        self._search_from = 0.0  # points
        self._every: Indices | None = None  # genomes of a small space

    @property
    def explained(self) -> tuple[float, ...] | None:
        """Per objective: of the variance of the last batches around what was known before, how much was foreseen; None
        while nothing was proposed by the models. Below 0: worse than the mean."""
        if not self._judged:
            return None
        recent = self._judged[-JUDGED_BATCHES:]
        missed = np.sum([errors for errors, _ in recent], axis=0)
        around = np.sum([errors for _, errors in recent], axis=0)
        return tuple(float(1 - m / a) if a > 0 else 0.0 for m, a in zip(missed, around, strict=True))

    def propose(self, count: int) -> list[Key]:
        """The start, then a batch: by the models, and what they leave of it by NSGA-II; fewer where it finds none."""
        if self._start_with:
            start, self._start_with = self._start_with, []
            return start
        with _one_thread():
            keys = self._batch(count - int(EVOLVED_SHARE * count + self._random.random()))
        return [*keys, *self._evolved(count - len(keys), keys)]

    def _batch(self, count: int) -> list[Key]:
        """By the models; fewer where too little is known, or nothing more seems to add anything."""
        self._forecast = None
        scored = [place for place, costs in enumerate(self._costs) if costs is not None]
        known = [place for place in scored if not _is_spared(self._costs[place])]
        if count == 0 or len(known) < LEAST_POINTS:
            return []
        genomes = np.array([self._keys[place] for place in known])
        costs = np.array([self._costs[place] for place in scored], dtype=float)
        looks = np.array([self._looks[place] for place in scored], dtype=float)  # None becomes NaN
        costs[:, 0] = smoothed(costs[:, 0], looks[:, 0], looks[:, 1])
        firsts = {self._keys[place]: cost for place, cost in zip(scored, costs[:, 0].tolist(), strict=True)}
        costs = costs[np.isin(scored, known)]
        violations = np.array([self._violations[place] for place in known], dtype=float).reshape(len(known), -1)
        feasible = np.asarray((violations <= 0).all(axis=1))
        explained = self.explained
        if explained is not None and sum(explained) < 0:
            self._judged = self._judged[:-1]  # a batch of NSGA-II, then the models are asked again
            return []
        search = len(known) >= self._search_from
        if search:
            self._search_from = GROWTH * len(known)
        forecast = Forecast(
            models=self._fitted(genomes, costs, firsts, search=search),
            limits=self._fitted_limits(genomes, violations, search=search),
            shares=self._shares,
            wider=self._wider(),
        )
        front = _non_dominated(costs[feasible])
        worst = np.full(costs.shape[1], np.inf)
        worst[0] = costs[:, 0].min() + self._most_lost
        box = Box(front if len(front) else costs, MARGIN, worst)
        if math.prod(axis.size for axis in self._axes) <= SMALL_SPACE:
            pool = self._whole_space()
        else:
            some = feasible if feasible.any() else ~feasible
            start = self._start(genomes[some], costs[some], forecast.models)
            pool = self._evolution_on_models(start, forecast, worst)
        if not len(pool):
            return []
        if forecast.limits and not feasible.any():  # what is expected to break them least
            places = np.argsort(forecast.beyond(pool), kind="stable")[:count]
            return [tuple(int(index) for index in pool[place]) for place in places]
        expected, *levels = forecast.costs(pool)
        hopeful = (forecast.least_beyond(pool) <= 0).all(axis=1) & ~_dominated(levels[-1], front)
        found = np.flatnonzero(hopeful)
        places = np.unique(np.concatenate([_best(found, level, POOL) for level in levels]))
        turn = len(self._keys) % len(levels)  # those who ask for one at a time get every level, too
        hoped = [level[places] for level in (*levels[turn:], *levels[:turn])]
        chosen = [int(places[i]) for i in most_gain(front, expected[places], hoped, count, box)]
        keys = [tuple(int(index) for index in pool[place]) for place in chosen]
        self._predicted.update((key, expected[place]) for key, place in zip(keys, chosen, strict=True))
        self._forecast = forecast
        return keys

    def complete(self, keys: Sequence[Key]) -> None:
        self._waiting = list(keys)
        self._beliefs = {}
        if self._forecast is not None and keys:
            with _one_thread():
                means, deviations = self._forecast.beliefs(np.array(keys))
            self._beliefs = dict(zip(keys, zip(means, deviations, strict=True), strict=True))

    def least(self, key: Key) -> tuple[float, ...] | None:
        """Costs that a measurement of one of the keys of `complete` will hardly be below, by models that are thought as
        sure as they proved to be; None while none has proved anything."""
        if key not in self._beliefs or not self._surprises:
            return None
        mean, deviation = self._beliefs[key]
        least = mean - SURE * self._wider() * deviation
        return tuple(on_scale_of_costs(least[None], self._shares)[0].tolist())

    def _wider(self) -> Array:
        """Per objective, 1 to 3: how many of their deviations the models really were off of late. What looks good is
        where they err, and of few points they are too sure."""
        recent = np.minimum(np.array(self._surprises[-JUDGED_POINTS:]).reshape(-1, len(self._shares)), 16.0)
        mean = (TRUSTED + np.nansum(recent, axis=0)) / (TRUSTED + len(recent))
        return np.asarray(np.sqrt(np.clip(mean, 1.0, 9.0)))

    def hear(self, looks: Sequence[tuple[float | None, float | None]]) -> None:
        """Of the keys of `complete`, before they are learnt: the first cost's noise, and its relative (`smoothing`)."""
        self._looks += looks

    def learn(self, costs: Sequence[Sequence[float] | None], violations: Sequence[Sequence[float]]) -> None:
        keys = self._waiting
        known = np.array([row for row in self._costs if row is not None], dtype=float)
        foreseen = [
            (self._predicted.pop(key), np.asarray(row, dtype=float))
            for key, row in zip(keys, costs, strict=True)
            if row is not None and key in self._predicted
        ]
        if foreseen:
            predicted, measured = (modelled(np.array(rows), self._shares) for rows in zip(*foreseen, strict=True))
            middle = np.nanmean(modelled(known, self._shares), axis=0)
            errors = (np.nansum((of - measured) ** 2, axis=0) for of in (predicted, middle))
            self._judged.append((next(errors), next(errors)))
        for key, row in zip(keys, costs, strict=True):
            if row is not None and not _is_spared(row) and key in self._beliefs:
                mean, deviation = self._beliefs[key]
                found = modelled(np.array([row], dtype=float), self._shares)[0]
                self._surprises.append(((found - mean) / np.maximum(deviation, 1e-12)) ** 2)
        self._keys += keys
        self._costs += costs
        self._violations += violations

    def _fitted(
        self, genomes: Indices, costs: Array, firsts: Mapping[Key, float], *, search: bool
    ) -> list[ObjectiveModel]:
        """firsts: the first cost of everything that has one: it is the network's own, whatever it is measured on, and
        known of what was spared a measurement, too."""
        values = modelled(costs, self._shares)
        first, *others = self._learners[: len(self._shares)]
        shared = {key: cost for key, cost in self._shared.items() if key not in firsts}
        every = {**firsts, **shared}
        errors = modelled(np.array([list(every.values())]).T, self._shares[:1])[:, 0]
        model = first.fit(np.array(list(every)), errors, search=search)
        return [model, *(o.fit(genomes, values[:, place], search=search) for place, o in enumerate(others, start=1))]

    def _fitted_limits(self, genomes: Indices, violations: Array, *, search: bool) -> list[ObjectiveModel]:
        """Of the limits that anything broke, and of being evaluated at all where anything was not."""
        found = []
        learners = self._learners[len(self._shares) :]
        for place in range(self._limits):
            if (violations[:, place] > 0).any():
                values = np.clip(violations[:, place], -1, 1)
                found.append(learners[place].fit(genomes, values, search=search))
        failed = [row is None for row in self._costs]
        if any(failed):
            values = np.where(failed, 1.0, -1.0)
            found.append(learners[-1].fit(np.array(self._keys), values, search=False))
        return found

    def _start(self, genomes: Indices, costs: Array, models: Sequence[ObjectiveModel]) -> list[Key]:
        """Where the evolution on the models starts: the front of these, the best genomes of the sums, random ones."""
        members = [tuple(int(i) for i in row) for row in genomes[_is_non_dominated(costs)]]
        rates = self._random.dirichlet(np.full(len(models), 0.6), EXCHANGE_RATES)
        spreads = [max(float(np.ptp(np.concatenate(model.curves))), 1e-9) for model in models]
        descended = best_of_sums([model.curves for model in models], rates / np.array(spreads))
        sizes = [axis.size for axis in self._axes]
        drawn = [tuple(self._random.integers(0, sizes).tolist()) for _ in range(CHILDREN // 4)]
        keys = [*members, *(tuple(row.tolist()) for row in descended), *drawn]
        return list(dict.fromkeys(self._canonical(key) for key in keys))

    def _evolution_on_models(self, start: Sequence[Key], forecast: Forecast, worst: Array) -> Indices:
        """(n, genes): what it met that is unseen. worst: (objectives,), costs that are of no use beyond."""
        met: dict[Key, None] = {}
        for level in range(len(OPTIMISM)):
            evolution = Evolution(
                "nsga2",
                self._axes,
                start,
                archive=(),
                canonical=self._canonical,
                objectives=len(self._shares),
                limits=len(forecast.limits) + len(worst),
                population=CHILDREN,
                seed=int(self._random.integers(2**31)),
            )
            for _ in range(GENERATIONS):
                keys = evolution.propose()
                if not keys:
                    break
                evolution.complete(keys)
                genomes = np.array(keys)
                costs = forecast.costs(genomes)[1 + level]
                beyond = np.concatenate([forecast.least_beyond(genomes), costs - worst], axis=1)
                evolution.learn(costs.tolist(), beyond.tolist())
                met.update(dict.fromkeys(keys))
        unseen = [key for key in met if key not in self._archive]
        if not unseen:
            return np.empty((0, len(self._axes)), dtype=np.int64)
        return np.array(unseen)

    def _whole_space(self) -> Indices:
        """(n, genes): everything that is unseen."""
        if self._every is None:
            every = np.stack([axis.ravel() for axis in np.indices([axis.size for axis in self._axes])], axis=1)
            self._every = np.array([key for key in map(tuple, every.tolist()) if self._canonical(key) == key])
        return self._every[[tuple(row) not in self._archive for row in self._every.tolist()]]

    def _evolved(self, count: int, others: Collection[Key]) -> list[Key]:
        """Of a generation of NSGA-II from everything that is known, but for `others`."""
        if count <= 0:
            return []
        evolution = Evolution(
            "nsga2",
            self._axes,
            self._keys,
            archive=self._archive,
            canonical=self._canonical,
            objectives=len(self._shares),
            limits=self._limits,
            population=max(2 * count, 8),
            seed=int(self._random.integers(2**31)),
        )
        evolution.propose()
        evolution.complete(self._keys)
        evolution.learn([None if _is_spared(row) else row for row in self._costs], self._violations)
        children = dict.fromkeys(evolution.propose())
        return [key for key in children if key not in self._archive and key not in others][:count]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Two threads give other bits than one, and a replay other genomes. The limit is the process's: one at a time."""
    with _LIMITED, threadpool_limits(1):
        yield


def _is_spared(costs: Sequence[float] | None) -> bool:
    """Has a first cost, and was not measured for the others."""
    return costs is not None and any(map(math.isnan, costs))


def _best(places: NDArray[np.int64], costs: Array, count: int) -> NDArray[np.int64]:
    """Up to `count` of these rows of costs, by non-dominated rank."""
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    if len(places) <= count:
        return places
    fronts = NonDominatedSorting().do(costs[places], n_stop_if_ranked=count)
    return np.asarray(places[np.concatenate(fronts)[:count]])


def _dominated(costs: Array, front: Array) -> NDArray[np.bool_]:
    """Of each row of costs, whether one of the front is at least as good in all."""
    if not len(front):
        return np.zeros(len(costs), dtype=bool)
    return np.asarray((front[:, None] <= costs[None]).all(axis=2).any(axis=0))


def _is_non_dominated(costs: Array) -> NDArray[np.bool_]:
    better = (costs[:, None] <= costs[None]).all(axis=2) & (costs[:, None] < costs[None]).any(axis=2)
    return np.asarray(~better.any(axis=0))


def _non_dominated(costs: Array) -> Array:
    return costs[_is_non_dominated(costs)]
