"""The best genomes of sums of curves: for each exchange rate between objectives, every gene has its own best index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_of_sums"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def best_of_sums(objectives: Sequence[Sequence[Array]], exchange_rates: Array) -> Indices:
    """One genome per row of exchange_rates, (n, objectives): the least weighted sum. Lagrangian relaxation: Everett,
    Operations Research 11(3), 1963.

    objectives: of each its curves, per gene (size,). Returns (n, genes), duplicates dropped."""
    found = [
        np.argmin(exchange_rates @ np.stack(curves), axis=1) for curves in zip(*objectives, strict=True)
    ]  # per gene: (n, objectives) @ (objectives, size)
    return np.unique(np.stack(found, axis=1), axis=0)
