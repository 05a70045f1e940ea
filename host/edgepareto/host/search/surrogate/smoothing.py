"""The first objective, seen through a relative of it that has less noise.

An accuracy counts samples; how far a network's outputs are from the unpruned one's weighs each of them, and says more
of the same samples (docs/benchmarks.md). Both are noisy looks at the true error: they are averaged by inverse variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["smoothed"]

Array = NDArray[np.float64]
LEAST_POINTS = 12  # before a relation is believed


def smoothed(costs: Array, noise: Array, relatives: Array) -> Array:
    """costs: (n,), noise: (n,) standard deviations of costs, relatives: (n,), >= 0 and rising with the costs; NaN where
    noise or relative is not known, whose cost stays as it is. Returns (n,).

    The relation is a sum of rising functions, so it rises. What it leaves unexplained beyond the noise of the costs is
    its own error.
    """
    from scipy.optimize import nnls

    known = np.isfinite(noise) & np.isfinite(relatives)
    if known.sum() < LEAST_POINTS:
        return costs
    told, deviation = costs[known], noise[known]
    functions = _rising(relatives[known])
    weights = 1 / np.maximum(deviation, np.median(deviation) / 10 + 1e-12)
    lowest = float(told.min() - np.ptp(told))  # the level above it is free, as no coefficient is below 0
    coefficients, _ = nnls(functions * weights[:, None], (told - lowest) * weights)
    seen = lowest + functions @ coefficients
    freedom = max(len(told) - np.count_nonzero(coefficients), 1)
    unexplained = float(np.sum((told - seen) ** 2)) / freedom
    own = max(unexplained - float(np.mean(deviation**2)), 0.1 * float(np.mean(deviation**2)))
    share = deviation**2 / (deviation**2 + own)
    found: Array = costs.copy()
    found[known] = told + share * (seen - told)
    return found


def _rising(relatives: Array) -> Array:
    """(n, functions)"""
    scaled = relatives / max(float(relatives.max()), 1e-12)
    bent = [scaled / (bend + scaled) for bend in (0.1, 0.3, 1.0)]
    return np.stack([np.ones(len(scaled)), np.sqrt(scaled), *bent, scaled, scaled**2], axis=1)
