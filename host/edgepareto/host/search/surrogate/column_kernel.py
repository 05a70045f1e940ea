"""A kernel of scikit-learn's that sees some columns only."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import Kernel

__all__ = ["OnColumns"]

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
