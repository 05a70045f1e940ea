"""Which multiple of channels a board's kernels work in, from latencies over channel counts. Pure.

Kernels compute channels in tiles, so latency climbs in stairs: a width just above a multiple costs as much as the next
one. Others have a fast path for multiples alone, so latency dips there. Both are compared with a smooth curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["COARSE_WIDTHS", "REFERENCE_WIDTH", "STEPS", "Staircase", "decisive_widths", "find_step"]

Array = NDArray[np.float64]

STEPS = (1, 2, 4, 8, 16, 32)  # docs/board-facts.md, section 4: what kernels of today pack; 1 is none
REFERENCE_WIDTH = 32  # the edge of every step of STEPS: the anchor of a probe, and where the jump is told
# At and just above multiples, where a step shows: 32 | 33 of any step, 16 | 17 not of 32, 24 | 25 not of 16, and so on.
# Small steps show at small widths, where they are a large part. The same batch holds both sides of an edge.
COARSE_WIDTHS = ((33, 16, 17, 24, 25), (8, 9, 20, 21, 40), (10, 11, 12, 13, 14), (48, 49, 6, 7, 18))

# Smaller shares are no step: what lies between two multiples is nearly as much faster as it has fewer channels.
LEAST_SHARE = 0.25
LEAST_JUMP = 0.01  # of the latency, by each shape: less than what a job repeats to
SHARE_TO_EXCLUDE = 0.5  # "no steps" is only sure where steps of half of the growth would have been seen
# In chi-squared: what one of ten alternatives explains by chance alone in less than 1 of 100 probes, and what
# separates two answers by more than four standard deviations.
BY_CHANCE = 12.0
SURE = 18.0
FEWEST_WIDTHS = 6
COEFFICIENTS = 4  # of a fit
LEAST_NOISE = 0.002  # nothing that a computer times repeats better over jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """step: 1 is no staircase. jump: how much slower one channel above a multiple is, as a share of the latency at
    REFERENCE_WIDTH; 0 without a staircase. noise: relative standard deviation of one latency, misfit included.

    rivals: the other steps that explain the latencies about as well; none: the answer is sure.
    """

    step: int
    jump: float
    noise: float
    rivals: tuple[int, ...]

    @property
    def is_sure(self) -> bool:
        return not self.rivals


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """values: over the widths. edge: by how much they rise just above REFERENCE_WIDTH."""

    step: int
    is_dip: bool
    values: Array
    edge: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """Shapes fitted to the latencies. residual: chi-squared. share: of the growth with width that comes in steps."""

    shapes: tuple[_Shape, ...]
    residual: float
    fitted: Array
    jump: float
    share: float

    @property
    def step(self) -> int:
        """What a width must be a multiple of to lie at the end of a stair and in a dip; all are powers of two."""
        return max((shape.step for shape in self.shapes), default=1)

    @property
    def names(self) -> frozenset[tuple[int, bool]]:
        return frozenset((shape.step, shape.is_dip) for shape in self.shapes)


def find_step(widths: Sequence[int], latencies_s: Sequence[float], noise: float) -> Staircase:
    """The step whose stairs, or dips, explain the latencies best; a width may come several times.

    noise: relative standard deviation of one latency; where the best shape leaves more than that, more is assumed.
    Raises ValueError for fewer than six different widths, or a latency that is not above 0.
    """
    c, t = np.asarray(widths, dtype=np.float64), np.asarray(latencies_s, dtype=np.float64)
    if len(set(widths)) < FEWEST_WIDTHS or len(c) != len(t) or not np.all(t > 0):
        raise ValueError(
            f"{len(set(widths))} different widths; {FEWEST_WIDTHS} are needed, each with a latency above 0"
        )
    noise = max(noise, LEAST_NOISE)
    fits = _fits(c, t, noise)
    best = _best(fits)
    misfit = _misfit(best)
    if best.step == 1:
        others = {step: _forced(step, c, t, noise)[0] for step in STEPS[1:]}
    else:
        others = {fit.step: fit.residual for fit in _alternatives(fits, best)}
    return Staircase(
        step=best.step,
        jump=best.jump,
        noise=noise * math.sqrt(misfit),
        rivals=tuple(step for step in STEPS if others.get(step, math.inf) - best.residual < SURE * misfit),
    )


def decisive_widths(
    widths: Sequence[int], latencies_s: Sequence[float], noise: float, *, count: int
) -> tuple[int, ...]:
    """Those of the measured widths at which the two best answers differ most: where measuring again decides."""
    c, t = np.asarray(widths, dtype=np.float64), np.asarray(latencies_s, dtype=np.float64)
    noise = max(noise, LEAST_NOISE)
    fits = _fits(c, t, noise)
    best = _best(fits)
    if best.step == 1:
        _, rival = min((_forced(step, c, t, noise) for step in STEPS[1:]), key=lambda forced: forced[0])
    else:
        rival = _alternatives(fits, best)[-1].fitted
    apart = np.abs(best.fitted - rival) / t
    order = dict.fromkeys(int(c[place]) for place in np.argsort(-apart, kind="stable"))
    return tuple(width for width in order if width != REFERENCE_WIDTH)[:count]


def _fits(c: Array, t: Array, noise: float) -> list[_Fit]:
    """The smooth curve alone, with stairs, with dips, and with one of each; only those that use all their shapes."""
    stairs = [_Shape(step=s, is_dip=False, values=np.ceil(c / s) * s, edge=float(s)) for s in STEPS[1:]]
    dips = [
        _Shape(step=s, is_dip=True, values=np.where(c % s == 0, 0.0, c), edge=float(REFERENCE_WIDTH)) for s in STEPS[1:]
    ]
    choices: list[tuple[_Shape, ...]] = [(), *((s,) for s in stairs), *((d,) for d in dips), *product(stairs, dips)]
    fits = (_fit(shapes, c, t, noise) for shapes in choices)
    return [fit for fit in fits if fit is not None]


def _best(fits: Sequence[_Fit]) -> _Fit:
    """The smooth curve is always among them, and it wins where steps would hold too little."""
    misfit = min(_misfit(fit) for fit in fits)
    best = min(fits, key=lambda fit: fit.residual + BY_CHANCE * misfit * len(fit.shapes))
    return best if best.share >= LEAST_SHARE else fits[0]


def _misfit(fit: _Fit) -> float:
    """What a fit leaves over what the noise explains; all comparisons are in units of it (the Birge ratio)."""
    return max(1.0, fit.residual / max(1, len(fit.fitted) - COEFFICIENTS))


def _alternatives(fits: Sequence[_Fit], best: _Fit) -> list[_Fit]:
    """Fits with another step, the nearest one last. One that only adds a shape to the best is none: it always fits as
    well, and would be the best itself if it earned it."""
    others = [fit for fit in fits if fit.step != best.step and not fit.names > best.names]
    return sorted(others, key=lambda fit: -fit.residual)


def _fit(shapes: tuple[_Shape, ...], c: Array, t: Array, noise: float) -> _Fit | None:
    """t = a + b c + q c^2 + sum d_i shape_i with b, d_i >= 0, weighted for an equal relative noise.

    The square takes up what is smooth and no line: caches, or memory that overtakes arithmetic. None where a shape
    is too small to matter.
    """
    from scipy.optimize import nnls  # a quarter of a second that only a probe needs

    scale = float(np.max(c))
    ones, square = np.ones_like(c), (c / scale) ** 2
    columns = np.stack([ones, -ones, square, -square, c / scale, *(s.values / scale for s in shapes)], axis=1)
    weights = 1.0 / (noise * t)
    solution, _ = nnls(columns * weights[:, None], t * weights, maxiter=1000)
    fitted = columns @ solution
    residual = float(np.sum(((t - fitted) * weights) ** 2))
    per_channel = solution[5:] / scale
    reference_s = float(np.interp(REFERENCE_WIDTH, *_curve(c, fitted)))
    growth_s = _growth(c, t)
    edges_s = [d * shape.edge for d, shape in zip(per_channel.tolist(), shapes, strict=True)]
    if any(edge_s < LEAST_JUMP * reference_s for edge_s in edges_s):
        return None
    return _Fit(
        shapes=shapes,
        residual=residual,
        fitted=fitted,
        jump=sum(edges_s) / reference_s,
        share=float(per_channel.sum()) / growth_s if growth_s > 0 else 0.0,
    )


def _forced(step: int, c: Array, t: Array, noise: float) -> tuple[float, Array]:
    """How badly a staircase of this step fits that holds SHARE_TO_EXCLUDE of the growth: small where the latencies
    would not have shown one. Its chi-squared and its latencies."""
    stairs = SHARE_TO_EXCLUDE * max(0.0, _growth(c, t)) * (np.ceil(c / step) * step - c)
    weights = 1.0 / (noise * t)
    scale = float(np.max(c))
    columns = np.stack([np.ones_like(c), c / scale, (c / scale) ** 2], axis=1)
    solution, *_ = np.linalg.lstsq(columns * weights[:, None], (t - stairs) * weights, rcond=None)
    fitted = stairs + columns @ solution
    return float(np.sum(((t - fitted) * weights) ** 2)), fitted


def _growth(c: Array, t: Array) -> float:
    """Seconds per channel over all widths: the slope of a line."""
    centred = c - c.mean()
    return float(centred @ (t - t.mean()) / (centred @ centred))


def _curve(c: Array, t: Array) -> tuple[Array, Array]:
    order = np.argsort(c, kind="stable")
    return c[order], t[order]
