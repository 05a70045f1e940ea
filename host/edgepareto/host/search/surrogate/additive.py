"""What each gene alone does to an objective: a sum of one curve per gene, fitted by penalised least squares.

Genes that are sizes (channels, a branch) change an objective one way only, whichever way the data say, so their curves
are kept monotone. All of them are drawn to one common shape: a group that was never tried alone is taken for an average
one. Source of the form: generalised additive models, Hastie & Tibshirani, Statistical Science 1(3), 1986; monotone by
non-negative coefficients as in Pya & Wood, Shape constrained additive models, Statistics and Computing 25, 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.domain import Axis
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

__all__ = ["AdditiveModel", "fit_additive"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
PENALTIES = tuple(10.0**power for power in range(-4, 3))  # times the number of rows
COMMON_PENALTY = 1e-6  # of the common shape: only so that it is always determined


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditiveModel:
    """curves: per gene, what each of its indices adds, (size,); of a gene that is a size, 0 at the largest."""

    level: float
    curves: tuple[Array, ...]

    def predict(self, genomes: Indices) -> Array:
        """genomes: (n, genes) indices. Returns (n,)."""
        total = np.full(len(genomes), self.level)
        for gene, curve in enumerate(self.curves):
            total += curve[genomes[:, gene]]
        return total


def fit_additive(axes: Sequence[Axis], genomes: Indices, values: Array) -> AdditiveModel:
    """genomes: (n, genes), values: (n,), n >= 1. How closely curves follow the data is chosen by generalised cross
    validation (Golub, Heath & Wahba, Technometrics 21(2), 1979) without the bounds."""
    bases = [_basis(axis) for axis in axes]
    level = float(values.mean())
    spread = float(values.std())
    if spread == 0:
        return AdditiveModel(level=level, curves=tuple(np.zeros(axis.size) for axis in axes))
    target = (values - level) / spread
    blocks = [basis[genomes[:, gene]] for gene, basis in enumerate(bases)]
    sizes = [axis.is_size for axis in axes]
    sign = _direction(axes, genomes, target)
    common = _common_shape(bases, blocks, sizes, target, sign)
    design = np.concatenate([np.ones((len(target), 1)), *blocks], axis=1)
    prior = np.concatenate([[0.0], *common])
    bounded = np.concatenate(
        [[False], *(np.full(basis.shape[1], is_size) for basis, is_size in zip(bases, sizes, strict=True))]
    )
    residual = target - design @ prior
    penalty = _chosen_penalty(design, residual)
    weights = np.full(design.shape[1], np.sqrt(penalty))
    weights[0] = 0.0
    lower = np.full(design.shape[1], -np.inf)
    upper = np.full(design.shape[1], np.inf)
    # c >= 0 in the direction of the data: the deviation from the prior is bounded by it.
    if sign > 0:
        lower[bounded] = -prior[bounded]
    else:
        upper[bounded] = -prior[bounded]
    found = lsq_linear(
        np.concatenate([design, np.diag(weights)]),
        np.concatenate([residual, np.zeros(design.shape[1])]),
        bounds=(np.minimum(lower, upper - 1e-12), upper),
        method="bvls",
        max_iter=200,
    )
    coefficients = prior + found.x
    curves, start = [], 1
    for basis in bases:
        curves.append(spread * (basis @ coefficients[start : start + basis.shape[1]]))
        start += basis.shape[1]
    return AdditiveModel(level=level + spread * float(coefficients[0]), curves=tuple(curves))


def _basis(axis: Axis) -> Array:
    """(size, functions): what is taken away of a size, linear, cubed and as a logarithm; a parabola over an ordered
    gene, one function per choice of an unordered one."""
    if axis.values is None:
        return np.asarray(np.eye(axis.size) - 1 / axis.size)
    values = np.asarray(axis.values, dtype=float)
    if axis.is_size:
        kept = values / values[-1]
        gone = 1 - kept
        if kept[0] <= 0 or axis.size == 2:
            return np.asarray(gone[:, None] / max(float(gone[0]), 1e-12))
        return np.stack([gone, gone**3, -np.log(kept)], axis=1)
    place = (values - values[0]) / max(values[-1] - values[0], 1e-12)
    return np.stack([place - 0.5, (place - 0.5) ** 2], axis=1)


def _direction(axes: Sequence[Axis], genomes: Indices, target: Array) -> float:
    """+1 where the objective rises as sizes shrink."""
    gone = np.zeros(len(target))
    for gene, axis in enumerate(axes):
        if axis.is_size and axis.values is not None:
            gone += 1 - np.asarray(axis.values)[genomes[:, gene]] / axis.values[-1]
    return 1.0 if float(np.dot(gone - gone.mean(), target)) >= 0 else -1.0


def _common_shape(
    bases: Sequence[Array], blocks: Sequence[Array], sizes: Sequence[bool], target: Array, sign: float
) -> list[Array]:
    """Per gene the coefficients that all genes of its kind share; 0 for those that are no sizes."""
    shared = [np.zeros(basis.shape[1]) for basis in bases]
    widths = sorted({basis.shape[1] for basis, is_size in zip(bases, sizes, strict=True) if is_size})
    if not widths:
        return shared
    sums = [
        sum(
            (block for block, is_size in zip(blocks, sizes, strict=True) if is_size and block.shape[1] == width),
            np.zeros((len(target), width)),
        )
        for width in widths
    ]
    columns = np.concatenate(sums, axis=1)
    design = np.concatenate([np.ones((len(target), 1)), sign * columns], axis=1)
    damping = np.sqrt(COMMON_PENALTY * len(target)) * np.eye(design.shape[1])
    lower = np.concatenate([[-np.inf], np.zeros(columns.shape[1])])
    found = lsq_linear(
        np.concatenate([design, damping]),
        np.concatenate([target, np.zeros(design.shape[1])]),
        bounds=(lower, np.inf),
        method="bvls",
    ).x[1:]
    start = 0
    for width in widths:
        for gene, is_size in enumerate(sizes):
            if is_size and bases[gene].shape[1] == width:
                shared[gene] = sign * found[start : start + width]
        start += width
    return shared


def _chosen_penalty(design: Array, residual: Array) -> float:
    centred = design[:, 1:] - design[:, 1:].mean(axis=0)
    wanted = residual - residual.mean()
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    along = left.T @ wanted
    rows = len(wanted)

    def score(penalty: float) -> float:
        shrunk = singular**2 / (singular**2 + penalty)
        misfit = float(wanted @ wanted) - float(np.sum((2 * shrunk - shrunk**2) * along**2))
        freedom = rows - 1 - float(shrunk.sum())
        return max(misfit, 0.0) / max(freedom, 1e-3) ** 2

    return min((factor * rows for factor in PENALTIES), key=score)
