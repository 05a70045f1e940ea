"""What another device found, and how it helps: its costs, modelled, are features of ours.

Latencies of boards differ in scale and in what they are slow at, and yet rank networks much alike; the process learns
how far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.domain import Axis
from edgepareto.host.search.evolution import Key
from edgepareto.host.search.surrogate.objective_model import Features, Learner
from numpy.typing import NDArray

__all__ = ["Elsewhere", "with_models_of"]

Indices = NDArray[np.int64]
LEAST_POINTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """costs: as many as were objectives there, the first one true here as well where the genome is_exact: the same
    network, and not only the nearest one that is allowed here."""

    key: Key
    costs: tuple[float, ...]
    is_exact: bool = True


def with_models_of(
    rows: Sequence[Elsewhere], axes: Sequence[Axis], features: Features | None, objectives: int
) -> Features | None:
    """The features, and what each objective but the first would be there. All: (n, genes) -> (n, features)."""
    if len(rows) < LEAST_POINTS:
        return features
    genomes = np.array([row.key for row in rows])
    both = min(objectives, *(len(row.costs) for row in rows))
    models = [
        Learner(axes, features).fit(genomes, np.array([row.costs[place] for row in rows]), search=True)
        for place in range(1, both)
    ]

    def together(of: Indices) -> NDArray[np.float64]:
        own = [] if features is None else [features(of)]
        return np.concatenate([*own, *(model.predict(of).mean[:, None] for model in models)], axis=1)

    return together if models else features
