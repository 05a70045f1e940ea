"""One objective, learned: a shape that all sizes share, and a Gaussian process on what it misses.

The process is a sum of curves per gene, of features, and of whatever the genes and features do together (Matern 5/2):
Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, sections 2.7 and 4.2.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from edgepareto.host.domain import Axis
from edgepareto.host.search.surrogate.curves import curves_of, shared_shape
from numpy.typing import NDArray

__all__ = ["Features", "Learner", "ObjectiveModel", "Prediction"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Features = Callable[[Indices], Array]  # (n, genes) -> (n, features)
Sklearn: TypeAlias = Any  # it has no types
# The length scales' prior, log-normal and 1 wide: the likeliest ones alone are, of few points, far too sure.
LENGTH, LENGTHS = 2.0, slice(2, -1)  # its median; their places among the kernel's parameters
STEPS = 12  # of the search for the process's scales, each time


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """mean, deviation: (n,), on the objective's own scale, of what a measurement would find: what no gene explains is a
    genome's own, and may be luck worth having."""

    mean: Array
    deviation: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveModel:
    """Predicts one objective of any genome, and how sure it is. curves: per gene, what each of its indices adds by
    itself, (size,)."""

    curves: tuple[Array, ...]
    _level: float
    _shape: list[Array]
    _process: Sklearn
    _inputs: Callable[[Indices], Array]
    _spread: float

    def predict(self, genomes: Indices) -> Prediction:
        """genomes: (n, genes) indices."""
        mean, deviation = self._process.predict(self._inputs(genomes), return_std=True)
        shape = self._level + _summed(self._shape, genomes)
        return Prediction(mean=shape + self._spread * mean, deviation=self._spread * deviation)


class Learner:
    """Fits an objective again and again as points come in; each fit starts from what the last one found."""

    def __init__(self, axes: Sequence[Axis], features: Features | None) -> None:
        self._axes = axes
        self._features = features
        self._curves = [curves_of(axis) for axis in axes]
        self._coordinates = [_coordinates(axis) for axis in axes]
        self._found: Array | None = None

    def fit(self, genomes: Indices, values: Array, *, search: bool) -> ObjectiveModel:
        """genomes: (n, genes), values: (n,), n >= 2. search: look for better scales, else keep the last ones."""
        from sklearn.gaussian_process import GaussianProcessRegressor

        level, shape = shared_shape(self._axes, genomes, values)
        missed = values - level - _summed(shape, genomes)
        spread = float(missed.std()) or 1.0
        features, curve_scales = self._scaled_features(genomes), self._curve_scales(genomes)
        linear = sum(table.shape[1] for table in self._curves)

        def inputs(of: Indices) -> Array:
            curves = _looked_up(self._curves, of) / curve_scales
            own = features(of)
            return np.concatenate([curves, own, _looked_up(self._coordinates, of), own], axis=1)

        seen = inputs(genomes)
        groups = [gene for gene, table in enumerate(self._coordinates) for _ in range(table.shape[1])]
        for _ in range(features(genomes[:1]).shape[1]):
            groups.append(groups[-1] + 1)
            linear += 1
        kernel = _kernel(linear, groups)
        if self._found is not None:
            kernel = kernel.clone_with_theta(self._found)
        process = GaussianProcessRegressor(kernel=kernel, alpha=1e-8, optimizer=_few_steps if search else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scales at their bounds: a gene that does not matter
            process.fit(seen, missed / spread)
        self._found = process.kernel_.theta
        # The process's own sum of curves: weights of a linear kernel, sigma^2 X' alpha.
        weights = spread * process.kernel_.k1.k1.k1.constant_value * (seen[:, :linear].T @ np.ravel(process.alpha_))
        return ObjectiveModel(
            curves=self._by_gene(shape, weights / np.concatenate([curve_scales, np.ones(linear - len(curve_scales))])),
            _level=level,
            _shape=shape,
            _process=process,
            _inputs=inputs,
            _spread=spread,
        )

    def _by_gene(self, shape: Sequence[Array], weights: Array) -> tuple[Array, ...]:
        found, start = [], 0
        for table, shared in zip(self._curves, shape, strict=True):
            found.append(np.asarray(shared + table @ weights[start : start + table.shape[1]]))
            start += table.shape[1]
        return tuple(found)

    def _curve_scales(self, known: Indices) -> Array:
        """(curves of all genes,): how much each varies over what is known, so that all genes are thought alike."""
        scales = _looked_up(self._curves, known).std(axis=0)
        scales[scales == 0] = 1.0
        return np.asarray(scales)

    def _scaled_features(self, known: Indices) -> Features:
        """As the user's, but 1 wide around 0 over the known genomes."""
        features = self._features
        if features is None:
            return lambda genomes: np.empty((len(genomes), 0))
        seen = features(known)
        middle, spread = seen.mean(axis=0), seen.std(axis=0)
        spread[spread == 0] = 1.0
        return lambda genomes: np.asarray((features(genomes) - middle) / spread)


def _coordinates(axis: Axis) -> Array:
    """(size, dimensions), about 1 apart from end to end. Sizes by their logarithm, so that halves are equally far."""
    if axis.values is None:
        return np.asarray(np.eye(axis.size) / np.sqrt(2))
    values = np.asarray(axis.values, dtype=float)
    if axis.is_size and values[0] > 0:
        values = np.log(values)
    scaled: Array = (values - values[0]) / max(float(values[-1] - values[0]), 1e-12)
    return scaled[:, None]


def _looked_up(tables: Sequence[Array], genomes: Indices) -> Array:
    return np.concatenate([table[genomes[:, gene]] for gene, table in enumerate(tables)], axis=1)


def _summed(tables: Sequence[Array], genomes: Indices) -> Array:
    return np.asarray(np.sum([table[genomes[:, gene]] for gene, table in enumerate(tables)], axis=0))


def _kernel(linear: int, groups: Sequence[int]) -> Sklearn:
    """The first `linear` columns add up, the others act together, those of a group on one scale."""
    from edgepareto.host.search.surrogate.column_kernel import MaternOfGroups, OnColumns
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, WhiteKernel

    curves = ConstantKernel(0.1, (1e-5, 10.0)) * OnColumns(DotProduct(0.0, "fixed"), 0, linear)
    together = ConstantKernel(0.5, (1e-3, 10.0)) * OnColumns(
        MaternOfGroups(np.full(max(groups) + 1, LENGTH), (0.2, 100.0), groups), linear, linear + len(groups)
    )
    return curves + together + WhiteKernel(0.1, (1e-4, 1.0))


def _few_steps(negative: Callable[[Array], tuple[float, Array]], start: Array, bounds: Array) -> tuple[Array, float]:
    from scipy.optimize import minimize

    def less_likely(theta: Array) -> tuple[float, Array]:
        value, slope = negative(theta)
        off = theta[LENGTHS] - math.log(LENGTH)
        slope[LENGTHS] += off
        return value + float(off @ off) / 2, slope

    options = {"maxiter": STEPS, "maxfun": 2 * STEPS}
    found = minimize(less_likely, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.x, float(found.fun)
