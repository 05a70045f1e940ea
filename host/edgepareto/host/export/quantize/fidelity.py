"""How much a quantised file still says what the model says: the gate that it passes before it leaves the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.errors import EvaluationError
from edgepareto.host.export.parity import Feed

__all__ = ["Fidelity", "measure_fidelity", "require_fidelity"]

# Files that were broken lay below .6, all others above .97 (docs/int8.md). Where samples hardly differ, rounding alone
# decides the cosine, and the error says that all is well.
LOWEST_COSINE = 0.9
LARGEST_ERROR = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Of the worst output, over all samples. absolute: max |seen - expected|. relative: that / max |expected|.

    cosine: of seen and expected, each less the mean of the expected ones, so that an output that says the same of every
    sample is nothing like one that tells them apart.
    """

    absolute: float
    relative: float
    cosine: float
    samples: int


def measure_fidelity(expected: Sequence[Feed], seen: Sequence[Feed]) -> Fidelity:
    """expected: what the model gives. seen: what the quantised file gives on the same inputs; one entry per run."""
    absolute, relative, cosine = 0.0, 0.0, 1.0
    for name in expected[0]:
        wanted = np.stack([run[name] for run in expected]).astype(np.float64)
        got = np.stack([run[name] for run in seen]).astype(np.float64)
        if not np.isfinite(got).all():
            return Fidelity(absolute=float("inf"), relative=float("inf"), cosine=-1.0, samples=len(expected))
        scale = float(np.abs(wanted).max(initial=0.0))
        apart = float(np.abs(got - wanted).max(initial=0.0))
        absolute = max(absolute, apart)
        relative = max(relative, apart / scale if scale else apart)
        cosine = min(cosine, _cosine(wanted, got))
    return Fidelity(absolute=absolute, relative=relative, cosine=cosine, samples=len(expected))


def require_fidelity(fidelity: Fidelity, name: str) -> None:
    """Raises EvaluationError where the file computes something else."""
    if not (fidelity.cosine >= LOWEST_COSINE or fidelity.relative <= LARGEST_ERROR):
        raise EvaluationError(
            f"{name}: in int8 it gives other outputs than in fp32, on {fidelity.samples} samples cosine "
            f"{fidelity.cosine:.3f}, relative error {fidelity.relative:.2g}; at least {LOWEST_COSINE:g} or at most "
            f"{LARGEST_ERROR:g} is allowed; use fp32 or fp16 there"
        )


def _cosine(
    wanted: np.ndarray[tuple[int, ...], np.dtype[np.float64]], got: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> float:
    mean = wanted.mean(axis=0, keepdims=True)
    first, second = (wanted - mean).ravel(), (got - mean).ravel()
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else float(not first.any() and not second.any())
