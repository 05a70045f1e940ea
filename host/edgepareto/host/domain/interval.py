"""A value with its 95 % interval, the only form in which a measured number is compared or shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENCE", "Interval", "student_quantile", "t_interval"]

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its 95 % interval, SI units."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def with_half_width(self, half_width: float) -> Interval:
        return Interval(value=self.value, low=self.value - half_width, high=self.value + half_width)


def student_quantile(freedom: int) -> float:
    """How many standard errors a two-sided 95 % interval reaches, 1.96 only for infinite degrees of freedom."""
    from scipy.special import stdtrit  # a tenth of a second that listing boards does not need

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def t_interval(samples: NDArray[np.float64], centre: float) -> Interval:
    """Student's interval of the mean, set around `centre`. One sample has no spread: its interval is the point."""
    n = len(samples)
    if n < 2:
        return Interval(value=centre, low=centre, high=centre)
    half = student_quantile(n - 1) * float(samples.std(ddof=1)) / math.sqrt(n)
    return Interval(value=centre, low=centre - half, high=centre + half)
