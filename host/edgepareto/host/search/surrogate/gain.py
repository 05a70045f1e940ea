"""Which of many predicted points would add most to a front: greedily, one after the other, by hypervolume."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "most_gain"]

Array = NDArray[np.float64]


class Box:
    """The scale of a hypervolume: `best` becomes 0, `worst` 1, the reference point lies `margin` beyond."""

    def __init__(self, costs: Array, margin: float, worst: Array) -> None:
        """costs: (n, objectives), n >= 1, what spans it. worst: (objectives,), the reference point's limits."""
        self._best = costs.min(axis=0)
        spanned = np.minimum(costs.max(axis=0), worst)
        self._span = np.where(spanned > self._best, spanned - self._best, 1.0)
        self.reference: Array = np.minimum(1.0 + margin, self.scale(worst))

    def scale(self, costs: Array) -> Array:
        return np.asarray((costs - self._best) / self._span)


def most_gain(front: Array, expected: Array, levels: Sequence[Array], count: int, box: Box) -> list[int]:
    """Places of up to `count` points, in the order they were chosen.

    front: (m, objectives), what is known, m may be 0. levels: how good the points may be, (n, objectives) each, looked
    at in turn, a level for each choice. What was chosen counts as `expected`, (n, objectives), when the next is. Fewer
    where nothing more would add anything.
    """
    known, values = box.scale(front), box.scale(expected)
    races = [_Race(known, box.scale(level), box.reference) for level in levels]
    chosen: list[int] = []
    for turn in range(count):
        for race in (*races[turn % len(races) :], *races[: turn % len(races)]):
            place = race.best(known)
            if place is not None:
                break
        else:
            break
        chosen.append(place)
        known = np.vstack([known, values[place]])
        for race in races:
            race.drop(place)
    return chosen


class _Race:
    """Points by the hypervolume that each would add to a front. Lazy: a gain can only fall as the front grows (Minoux,
    Accelerated greedy algorithms for maximizing submodular set functions, 1978)."""

    def __init__(self, front: Array, points: Array, reference: Array) -> None:
        from pymoo.indicators.hv import HV

        self._points = points
        self._reference = reference
        self._indicator = HV(ref_point=reference)
        self._dropped: set[int] = set()
        base = self._volume(front)
        self._gains = [(-self._gain(front, base, place), place) for place in range(len(points))]
        heapq.heapify(self._gains)

    def best(self, front: Array) -> int | None:
        """None where no point adds anything. The front may have grown since the last call, never shrunk."""
        base = self._volume(front)
        while self._gains:
            _, place = heapq.heappop(self._gains)
            if place in self._dropped:
                continue
            gain = self._gain(front, base, place)
            if gain > 0 and (not self._gains or gain >= -self._gains[0][0]):
                heapq.heappush(self._gains, (-gain, place))
                return place
            if gain > 0:
                heapq.heappush(self._gains, (-gain, place))
        return None

    def drop(self, place: int) -> None:
        self._dropped.add(place)

    def _gain(self, front: Array, base: float, place: int) -> float:
        point = self._points[place]
        if (front <= point).all(axis=1).any() or (point >= self._reference).any():
            return 0.0
        return self._volume(np.vstack([front, point])) - base

    def _volume(self, costs: Array) -> float:
        inside = costs[(costs < self._reference).all(axis=1)]
        return float(self._indicator(inside)) if len(inside) else 0.0
