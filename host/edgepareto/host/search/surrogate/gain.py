"""Which of many predicted points would add most to a front: greedily, one after the other, by hypervolume."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "most_gain"]

Array = NDArray[np.float64]


class Box:
    """The scale of a hypervolume: `best` becomes 0, `worst` 1, the reference point lies `margin` beyond."""

    def __init__(self, costs: Array, margin: float) -> None:
        """costs: (n, objectives), n >= 1, what spans it."""
        self._best, worst = costs.min(axis=0), costs.max(axis=0)
        self._span = np.where(worst > self._best, worst - self._best, 1.0)
        self.reference: Array = np.full(costs.shape[1], 1.0 + margin)

    def scale(self, costs: Array) -> Array:
        return np.asarray((costs - self._best) / self._span)


def most_gain(front: Array, points: Array, optimistic: Array, count: int, box: Box) -> list[int]:
    """Places of up to `count` of `optimistic`, (n, objectives), in the order they were chosen.

    front: (m, objectives), what is known, m may be 0. What was chosen counts as `points`, (n, objectives), its expected
    value, when the next is. Fewer where nothing more would add anything. Lazy: a gain can only fall as the front grows
    (Minoux, Accelerated greedy algorithms for maximizing submodular set functions, 1978).
    """
    from pymoo.indicators.hv import HV

    indicator = HV(ref_point=box.reference)

    def volume(costs: Array) -> float:
        inside = costs[(costs < box.reference).all(axis=1)]
        return float(indicator(inside)) if len(inside) else 0.0

    known, hoped, expected = (box.scale(costs) for costs in (front, optimistic, points))
    base = volume(known)
    heap = [
        (-(volume(np.vstack([known, hoped[place]])) - base), place, 0)
        for place in range(len(hoped))
        if not _is_dominated(hoped[place], known)
    ]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < count:
        negative, place, at = heapq.heappop(heap)
        if at == len(chosen):
            if negative >= 0:
                break
            chosen.append(place)
            known = np.vstack([known, expected[place]])
            base = volume(known)
        else:
            heapq.heappush(heap, (-(volume(np.vstack([known, hoped[place]])) - base), place, len(chosen)))
    return chosen


def _is_dominated(point: Array, front: Array) -> bool:
    return bool((front <= point).all(axis=1).any())
