"""When one candidate has enough latency rounds: its median is known to 1 %, by the interval of its block medians.

Not of single runs: that interval is falsely narrow, because drift between blocks is the error (docs/measurement.md).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

__all__ = ["NOT_CONVERGED", "TARGET", "is_settled", "relative_half_width"]

NOT_CONVERGED = "NOT_CONVERGED"  # the rounds ran out before the interval was narrow: used all the same, with its width
TARGET = 0.01  # of the mean block median

# Two-sided 95 % quantiles of Student's t for 2 to 14 degrees of freedom (NIST/SEMATECH e-Handbook of Statistical
# Methods, 1.3.6.7.2), so that the agent needs no scipy. Beyond 14 the last one stays: a little too wide.
_FEWEST_FREEDOM = 2
_STUDENT_95 = (4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145)


def relative_half_width(block_medians: Sequence[float]) -> float | None:
    """Of the 95 % t-interval of their mean, relative to it. None: fewer than three blocks tell nothing."""
    freedom = len(block_medians) - 1
    if freedom < _FEWEST_FREEDOM:
        return None
    quantile = _STUDENT_95[min(freedom - _FEWEST_FREEDOM, len(_STUDENT_95) - 1)]
    mean = statistics.fmean(block_medians)
    return quantile * statistics.stdev(block_medians) / math.sqrt(len(block_medians)) / mean


def is_settled(block_medians: Sequence[float]) -> bool:
    half_width = relative_half_width(block_medians)
    return half_width is not None and half_width <= TARGET
