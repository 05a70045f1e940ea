"""Does a quantity grow with the number of measurements? A straight line by least squares, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["Slope", "slope_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Per measurement, with the half width of its 95 % interval. span: measurements from first sample to last."""

    value: float
    half_width: float
    span: float

    def is_zero(self, *, resolution: float) -> bool:
        """Within its noise, or less over the whole span than one step in which the quantity can be seen to change."""
        return abs(self.value) <= self.half_width or abs(self.value) * self.span < resolution


def slope_of(measurements: Array, seen: Array) -> Slope:
    """measurements, seen: (samples,), at least 4.

    Neighbouring samples of memory are alike, which makes the plain interval too narrow; it is widened by
    sqrt((1 + r) / (1 - r)), r the residuals' correlation with their neighbours (first-order autoregression).
    """
    x = measurements - measurements.mean()
    value = float(x @ seen / (x @ x))
    residuals = seen - seen.mean() - value * x
    freedom = len(seen) - 2
    variance = float(residuals @ residuals) / freedom
    error = math.sqrt(variance / float(x @ x))
    r = 0.0
    if variance > 0:
        r = min(0.95, max(0.0, float(residuals[1:] @ residuals[:-1] / (residuals @ residuals))))
    half = float(stdtrit(freedom, 0.975)) * error * math.sqrt((1 + r) / (1 - r))
    return Slope(value=value, half_width=half, span=float(measurements[-1] - measurements[0]))
