"""The best genomes of a sum of curves: for each exchange rate between objectives, every gene has its own best index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgepareto.host.search.surrogate.additive import AdditiveModel
from numpy.typing import NDArray

__all__ = ["best_of_sums"]

Indices = NDArray[np.int64]


def best_of_sums(models: Sequence[AdditiveModel], exchange_rates: NDArray[np.float64]) -> Indices:
    """One genome per row of exchange_rates, (n, objectives): the least weighted sum. Lagrangian relaxation: Everett,
    Operations Research 11(3), 1963. Returns (n, genes), duplicates dropped."""
    genes = len(models[0].curves)
    found = np.empty((len(exchange_rates), genes), dtype=np.int64)
    for gene in range(genes):
        curves = np.stack([model.curves[gene] for model in models])  # (objectives, size)
        found[:, gene] = np.argmin(exchange_rates @ curves, axis=1)
    return np.unique(found, axis=0)
