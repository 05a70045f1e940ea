"""How good a front is, in one number: the hypervolume on a scale fixed once per study and device.

Axes: error linear, latency and energy as logarithms (`Estimate.costs`). The scale is the box that the dense model and
the uniform ladder span in generation 0: the best cost of each objective becomes 0, the worst 1, and the reference point
lies at 1.1 in every objective, so that the ends of the ladder count too. The unit is one such box: a front of one point
at the box's best corner has 1.1 ** objectives. A scale that moved with the front would make numbers of two
moments incomparable; estimates pooled over more jobs still move it a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["HypervolumeScale", "hypervolume"]

REFERENCE = 1.1  # in units of the box


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervolumeScale:
    """best, worst: per objective, in the units of `Estimate.costs`. An objective in which they agree keeps its unit."""

    best: tuple[float, ...]
    worst: tuple[float, ...]

    @classmethod
    def spanned_by(cls, costs: Sequence[Sequence[float]]) -> HypervolumeScale:
        """The box around `costs`, (n_points, n_objectives), n_points >= 1: the dense model's and the ladder's."""
        table = np.asarray(costs, dtype=float)
        return cls(best=tuple(table.min(axis=0).tolist()), worst=tuple(table.max(axis=0).tolist()))


def hypervolume(costs: Sequence[Sequence[float]], scale: HypervolumeScale) -> float:
    """The volume that `costs`, (n_points, n_objectives), minimised, dominate below the reference point; 0 for none.

    Dominated points and points beyond the reference add nothing, so the archive may be passed as it is.
    """
    if not costs:
        return 0.0
    best, worst = np.asarray(scale.best), np.asarray(scale.worst)
    scaled = (np.asarray(costs, dtype=float) - best) / np.where(worst > best, worst - best, 1.0)
    inside = scaled[(scaled < REFERENCE).all(axis=1)]
    if not len(inside):
        return 0.0
    from pymoo.indicators.hv import HV

    return float(HV(ref_point=np.full(len(best), REFERENCE))(inside))
