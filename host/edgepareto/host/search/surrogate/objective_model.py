"""One objective, learned: a sum of curves per gene, and a Gaussian process on what the sum misses.

The process sees the genes and the features of the network. Rasmussen & Williams, Gaussian Processes for Machine
Learning, 2006: prediction (2.25, 2.26), leave-one-out (5.12).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from edgepareto.host.domain import Axis
from edgepareto.host.search.surrogate.additive import AdditiveModel, fit_additive
from numpy.typing import NDArray

__all__ = ["Learner", "ObjectiveModel", "Prediction"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Features = Callable[[Indices], Array]  # (n, genes) -> (n, features)
Sklearn: TypeAlias = Any  # it has no types
LEAST_NOISE, MOST_NOISE = 1e-4, 1.0  # variance, of the residual's


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """mean, deviation: (n,), on the model's own scale."""

    mean: Array
    deviation: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveModel:
    """explained: 1 - squared error / variance of predictions of points that were left out; below 0: worse than the
    mean."""

    additive: AdditiveModel
    explained: float
    _process: Sklearn
    _inputs: Callable[[Indices], Array]
    _scale: float

    def predict(self, genomes: Indices) -> Prediction:
        """genomes: (n, genes) indices."""
        mean, deviation = self._process.predict(self._inputs(genomes), return_std=True)
        return Prediction(mean=self.additive.predict(genomes) + self._scale * mean, deviation=self._scale * deviation)


class Learner:
    """Fits an objective again and again as points come in; each fit starts from what the last one found."""

    def __init__(self, axes: Sequence[Axis], features: Features | None) -> None:
        self._axes = axes
        self._features = features
        self._coordinates = [_coordinates(axis) for axis in axes]
        self._found: Array | None = None

    def fit(self, genomes: Indices, values: Array, *, search: bool) -> ObjectiveModel:
        """genomes: (n, genes), values: (n,), n >= 2. search: look for better length scales, else keep the last ones."""
        from sklearn.gaussian_process import GaussianProcessRegressor

        additive = fit_additive(self._axes, genomes, values)
        missed = values - additive.predict(genomes)
        scale = float(missed.std()) or 1.0
        inputs = self._inputs_of(genomes)
        kernel = _kernel(inputs(genomes).shape[1])
        if self._found is not None:
            kernel = kernel.clone_with_theta(self._found)
        process = GaussianProcessRegressor(
            kernel=kernel, alpha=1e-8, optimizer=_few_steps if search else None, normalize_y=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of length scales at their bounds: a gene that does not matter
            process.fit(inputs(genomes), missed / scale)
        self._found = process.kernel_.theta
        left_out = additive.predict(genomes) + scale * _leave_one_out(process, missed / scale)
        variance = float(np.var(values))
        explained = 1 - float(np.mean((left_out - values) ** 2)) / variance if variance > 0 else 0.0
        return ObjectiveModel(additive=additive, explained=explained, _process=process, _inputs=inputs, _scale=scale)

    def _inputs_of(self, known: Indices) -> Callable[[Indices], Array]:
        coordinates = self._coordinates
        if self._features is None:
            return lambda genomes: _looked_up(coordinates, genomes)
        features = self._features
        seen = features(known)
        middle, spread = seen.mean(axis=0), seen.std(axis=0)
        spread[spread == 0] = 1.0

        def inputs(genomes: Indices) -> Array:
            return np.concatenate([_looked_up(coordinates, genomes), (features(genomes) - middle) / spread], axis=1)

        return inputs


def _coordinates(axis: Axis) -> Array:
    """(size, dimensions), about 1 apart from end to end. Sizes by their logarithm, so that halves are equally far."""
    if axis.values is None:
        return np.asarray(np.eye(axis.size) / np.sqrt(2))
    values = np.asarray(axis.values, dtype=float)
    if axis.is_size and values[0] > 0:
        values = np.log(values)
    scaled: Array = (values - values[0]) / max(float(values[-1] - values[0]), 1e-12)
    return scaled[:, None]


def _looked_up(coordinates: Sequence[Array], genomes: Indices) -> Array:
    return np.concatenate([table[genomes[:, gene]] for gene, table in enumerate(coordinates)], axis=1)


def _kernel(dimensions: int) -> Sklearn:
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    signal = ConstantKernel(0.5, (1e-3, 10.0)) * Matern(
        length_scale=np.full(dimensions, 2.0), length_scale_bounds=(0.1, 100.0), nu=2.5
    )
    return signal + WhiteKernel(0.3, (LEAST_NOISE, MOST_NOISE))


def _few_steps(negative: Callable[[Array], tuple[float, Array]], start: Array, bounds: Array) -> tuple[Array, float]:
    from scipy.optimize import minimize

    found = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 12, "maxfun": 15})
    return found.x, float(found.fun)


def _leave_one_out(process: Sklearn, values: Array) -> Array:
    """(n,) what the process predicts for each of its points without it."""
    from scipy.linalg import cho_solve

    inverse: Array = cho_solve((process.L_, True), np.eye(len(values)))
    return values - np.ravel(process.alpha_) / np.diag(inverse)
