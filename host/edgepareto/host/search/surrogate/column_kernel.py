"""Kernels that scikit-learn lacks: one that sees some columns only, one that measures some columns alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel, NormalizedKernelMixin, StationaryKernelMixin

__all__ = ["MaternOfGroups", "OnColumns"]

Array = NDArray[np.float64]
Sklearn: TypeAlias = Any  # it has no types


class OnColumns(Kernel):  # type: ignore[misc]
    """`kernel` on the columns start..stop of its inputs; its hyperparameters are this one's."""

    def __init__(self, kernel: Sklearn, start: int, stop: int) -> None:
        self.kernel = kernel
        self.start = start
        self.stop = stop

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Sklearn:  # noqa: N803
        other = None if Y is None else Y[:, self.start : self.stop]
        return self.kernel(X[:, self.start : self.stop], other, eval_gradient)

    def diag(self, X: Array) -> Sklearn:  # noqa: N803
        return self.kernel.diag(X[:, self.start : self.stop])

    def is_stationary(self) -> bool:
        return bool(self.kernel.is_stationary())

    def get_params(self, deep: bool = True) -> dict[str, Sklearn]:
        own = {"kernel": self.kernel, "start": self.start, "stop": self.stop}
        if deep:
            own.update({f"kernel__{name}": value for name, value in self.kernel.get_params().items()})
        return own

    @property
    def hyperparameters(self) -> list[Sklearn]:
        return list(self.kernel.hyperparameters)

    @property
    def theta(self) -> Array:
        return np.asarray(self.kernel.theta)

    @theta.setter
    def theta(self, theta: Array) -> None:
        self.kernel.theta = theta

    @property
    def bounds(self) -> Array:
        return np.asarray(self.kernel.bounds)


class MaternOfGroups(StationaryKernelMixin, NormalizedKernelMixin, Kernel):  # type: ignore[misc]
    """Matern 5/2, one length scale for all columns of a group: choices of one gene are equally far from each other.

    groups: of each column its group, 0, 1, ...; length_scale: (groups,).
    """

    def __init__(self, length_scale: Array, length_scale_bounds: tuple[float, float], groups: Sequence[int]) -> None:
        self.length_scale = length_scale
        self.length_scale_bounds = length_scale_bounds
        self.groups = groups

    @property
    def hyperparameter_length_scale(self) -> Sklearn:
        return Hyperparameter("length_scale", "numeric", self.length_scale_bounds, len(self.length_scale))

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Sklearn:  # noqa: N803
        scales = np.asarray(self.length_scale)[list(self.groups)]
        one = X / scales
        distances = np.sqrt(5) * cdist(one, one if Y is None else Y / scales)
        fading = np.exp(-distances)
        kernel = (1 + distances + distances**2 / 3) * fading
        if not eval_gradient:
            return kernel
        groups = np.asarray(self.groups)
        own = [one[:, groups == group] for group in range(len(self.length_scale))]
        squares = np.stack([cdist(columns, columns, "sqeuclidean") for columns in own], axis=2)
        return kernel, 5 / 3 * squares * ((1 + distances) * fading)[:, :, None]  # by the logarithms of the scales
