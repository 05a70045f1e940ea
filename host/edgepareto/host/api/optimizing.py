"""The search alone, by ask and tell, for whatever can be measured: no model, no board, no file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np
from edgepareto.host.errors import ConfigError
from edgepareto.host.search import ALGORITHM_NAMES, CategoricalGene, IntegerGene, Outcome, Search, SearchSpace

__all__ = ["CategoricalGene", "IntegerGene", "Optimizer", "Scale", "SearchSpace"]

Genome = tuple["int | str", ...]


class Scale(str, Enum):
    """How differences of an objective count, and how it is modelled.

    SHARE: between 0 and 1, as an error is: differences count as they are, modelled by log-odds. LOG: above 0, as
    latency and energy are: ratios count. LINEAR: any number.
    """

    SHARE = "share"
    LOG = "log"
    LINEAR = "linear"


class Optimizer:
    """Finds the front of objectives that are expensive to measure, in few measurements.

        space = SearchSpace(genes=(IntegerGene(name="width", values=(8, 16, 24, 32), is_size=True),
                                   CategoricalGene(name="kernel", choices=("3x3", "5x5"))))
        optimizer = Optimizer(space, objectives=("share", "log"), seed=1)
        while measured < budget:
            genomes = optimizer.ask(5)
            optimizer.tell(genomes, [measure(genome) for genome in genomes])

    The same arguments, the same asked numbers and the same told results give the same genomes: a run is replayed by
    asking and telling again. Not for several threads at once.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        objectives: Sequence[str | Scale],
        algorithm: str = "surrogate",
        seed: int = 0,
        population: int = 20,
        features: Callable[[Genome], Sequence[float]] | None = None,
    ) -> None:
        """objectives: the scale of each, all minimised. algorithm: "surrogate", "nsga2", "spea2", "sms-emoa" or
        "random". population: of the evolutionary ones, at least 4; a surrogate begins with as many, where the space
        has no start of its own. features: numbers that objectives may depend on beside the genes, as sizes and
        operations of the network a genome stands for; always as many, finite, and the same for the same genome.

        Raises ConfigError.
        """
        known = [scale.value for scale in Scale]
        if isinstance(objectives, str):
            raise ConfigError(f'objectives "{objectives}": give the scale of each, as in ("share", "log")')
        wrong = [str(given) for given in objectives if given not in known]
        if wrong or not objectives:
            raise ConfigError(f"objectives {', '.join(wrong) or 'none'}: give each its scale, of {', '.join(known)}")
        if algorithm not in ALGORITHM_NAMES:
            raise ConfigError(f"algorithm {algorithm} is not known; choose {', '.join(ALGORITHM_NAMES)}")
        if population < 4:
            raise ConfigError(f"population {population}: at least 4")
        if seed < 0:
            raise ConfigError(f"seed {seed}: 0 or more")
        self._space = space
        self._scales = [Scale(given) for given in objectives]
        self._known_features: dict[tuple[int, ...], list[float]] = {}
        self._features = features
        self._search = Search(
            algorithm,
            space,
            objectives=len(objectives),
            limits=1,
            population=population,
            seed=seed,
            shares=[place for place, scale in enumerate(self._scales) if scale is Scale.SHARE],
            features=None if features is None else self._features_of,
        )
        self._handed_out: dict[Genome, Outcome[Genome] | None] = {}
        self._generation: tuple[Genome, ...] = ()
        self._given = 0

    @property
    def explained(self) -> tuple[float, ...] | None:
        """Per objective: how much of the last results' variance was foreseen, 1 is all, below 0 worse than a mean; None
        while nothing was foreseen, and of algorithms that foresee nothing."""
        return self._search.explained

    def ask(self, count: int = 1) -> list[Genome]:
        """Up to `count` genomes to measure next, none twice; [] where the space seems exhausted.

        Fewer where a generation of an evolutionary algorithm ends. Raises ConfigError where results must be told first.
        """
        if count < 1:
            raise ConfigError(f"ask({count}): at least 1")
        if self._given == len(self._generation):
            missing = sum(outcome is None for outcome in self._handed_out.values())
            if missing:
                raise ConfigError(f"{missing} genomes were asked and not told yet: tell their results, then ask again")
            self._generation = self._search.ask(count)
            self._handed_out, self._given = {}, 0
        found = self._generation[self._given : self._given + count]
        self._given += len(found)
        self._handed_out.update(dict.fromkeys(found))
        return list(found)

    def tell(
        self,
        genomes: Sequence[Genome],
        objectives: Sequence[Sequence[float] | None],
        feasible: Sequence[bool] | None = None,
    ) -> None:
        """What was measured of genomes that were asked, in any order and number, each once.

        objectives: per genome one number per objective, minimised; None: it could not be measured. feasible: whether
        it keeps to all limits; None: all do. Raises ConfigError, and then takes in nothing.
        """
        if not len(genomes) and not self._generation:  # a space that is exhausted
            return
        allowed = [True] * len(genomes) if feasible is None else list(feasible)
        if not len(genomes) == len(objectives) == len(allowed):
            raise ConfigError(
                f"tell got {len(genomes)} genomes, {len(objectives)} results and {len(allowed)} verdicts; one of each"
            )
        told = {}
        for genome, values, is_feasible in zip(map(tuple, genomes), objectives, allowed, strict=True):
            if genome in told or self._handed_out.get(genome, genome) is not None:
                raise ConfigError(f"{genome}: was not asked, or was told before")
            costs = None if values is None else self._costs(genome, values)
            told[genome] = Outcome(genome=genome, costs=costs, violation=(-1.0 if is_feasible else 1.0,))
        self._handed_out.update(told)
        if self._given == len(self._generation):
            outcomes = [self._handed_out[genome] for genome in self._generation]
            known = [outcome for outcome in outcomes if outcome is not None]
            if len(known) == len(outcomes):
                self._search.tell(known)

    def _costs(self, genome: Genome, values: Sequence[float]) -> tuple[float, ...]:
        if len(values) != len(self._scales):
            raise ConfigError(f"{genome}: {len(values)} objectives were told, this search has {len(self._scales)}")
        costs = []
        for value, scale in zip(map(float, values), self._scales, strict=True):
            if not math.isfinite(value):
                raise ConfigError(f"{genome}: an objective is {value}; where it could not be measured, tell None")
            if scale is Scale.SHARE and not 0 <= value <= 1:
                raise ConfigError(f"{genome}: an objective on the scale share is {value}, which is not within 0..1")
            if scale is Scale.LOG and value <= 0:
                raise ConfigError(f"{genome}: an objective on the scale log is {value}, which is not above 0")
            costs.append(math.log(value) if scale is Scale.LOG else value)
        return tuple(costs)

    def _features_of(self, indices: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.float64]:
        """(n, genes) -> (n, features). Each genome's are asked of the user once."""
        assert self._features is not None
        rows = []
        for key in map(tuple, indices.tolist()):
            if key not in self._known_features:
                genome = self._space.decode(key)
                given = self._features(genome)
                try:
                    found = [float(value) for value in given]
                except (TypeError, ValueError) as error:
                    raise ConfigError(f"features of {genome} are {given!r}; a row of numbers is wanted") from error
                if not all(map(math.isfinite, found)):
                    raise ConfigError(f"features of {genome} are {found}; each must be a finite number")
                self._known_features[key] = found
            rows.append(self._known_features[key])
        if len({len(row) for row in rows}) > 1:
            raise ConfigError("features: must give the same number of values for every genome")
        return np.array(rows, dtype=float)
