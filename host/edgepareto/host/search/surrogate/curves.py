"""What each gene alone may do to an objective: a few curves per gene, and the one shape that all sizes share.

Curves of sizes (channels, a branch) say how much is gone; source of the form: generalised additive models, Hastie &
Tibshirani, Statistical Science 1(3), 1986. The shared shape is monotone, by coefficients of one sign as in Pya & Wood,
Shape constrained additive models, Statistics and Computing 25, 2015: a group that was never tried alone is taken for an
average one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgepareto.host.domain import Axis
from numpy.typing import NDArray

__all__ = ["curves_of", "shared_shape"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def curves_of(axis: Axis) -> Array:
    """(size, curves): what is gone of a size, linear, cubed and as a logarithm; a parabola over an ordered gene; one
    per choice of an unordered one."""
    if axis.values is None:
        return np.asarray(np.eye(axis.size) - 1 / axis.size)
    values = np.asarray(axis.values, dtype=float)
    if axis.is_size:
        kept = values / values[-1]
        gone = 1 - kept
        if kept[0] <= 0 or axis.size == 2:
            return np.asarray(gone[:, None] / max(float(gone[0]), 1e-12))
        return np.stack([gone, gone**3, -np.log(kept)], axis=1)
    place = (values - values[0]) / max(float(values[-1] - values[0]), 1e-12) - 0.5
    return np.stack([place, place**2], axis=1)


def shared_shape(axes: Sequence[Axis], genomes: Indices, values: Array) -> tuple[float, list[Array]]:
    """The level, and per gene what each of its indices adds, (size,), 0 for genes that are no sizes: one shape for all
    sizes of as many curves, rising or falling as the data say. genomes: (n, genes), values: (n,)."""
    from scipy.optimize import nnls

    tables = [curves_of(axis) if axis.is_size else None for axis in axes]
    found = [np.zeros(axis.size) for axis in axes]
    widths = sorted({table.shape[1] for table in tables if table is not None})
    if not widths:
        return float(values.mean()), found
    sums = [
        np.sum([t[genomes[:, gene]] for gene, t in enumerate(tables) if t is not None and t.shape[1] == width], axis=0)
        for width in widths
    ]
    columns = np.concatenate(sums, axis=1)
    middle = columns.mean(axis=0)
    wanted = values - values.mean()
    (rising, misfit), (falling, other) = (nnls(sign * (columns - middle), wanted) for sign in (1, -1))
    shape = rising if misfit <= other else -falling
    start = 0
    for width in widths:
        for gene, table in enumerate(tables):
            if table is not None and table.shape[1] == width:
                found[gene] = table @ shape[start : start + width]
        start += width
    return float(values.mean() - middle @ shape), found
