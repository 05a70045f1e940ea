"""Which samples a model got right, and the difference of two models on the same samples.

Two accuracies measured on the same samples share their luck: what both get right or both get wrong cancels, so their
difference is known far better than either of them.
"""

from __future__ import annotations

import math

import numpy as np
from edgepareto.host.domain.interval import Interval
from numpy.typing import NDArray

__all__ = ["PackedHits", "accuracy_difference", "pack_hits", "sampling_noise", "unpack_hits"]

PackedHits = bytes
"""See `pack_hits`."""

NORMAL_QUANTILE = 1.96
COUNT_BYTES = 4


def pack_hits(hits: NDArray[np.bool_]) -> PackedHits:
    """Whether each sample was right, a bit a sample: their count (4 bytes, little endian), then the bits."""
    return len(hits).to_bytes(COUNT_BYTES, "little") + np.packbits(hits).tobytes()


def unpack_hits(packed: PackedHits) -> NDArray[np.bool_]:
    """The inverse of `pack_hits`."""
    count = int.from_bytes(packed[:COUNT_BYTES], "little")
    return np.unpackbits(np.frombuffer(packed[COUNT_BYTES:], dtype=np.uint8), count=count).astype(bool)


def sampling_noise(hits: PackedHits) -> float:
    """Standard deviation of the share of right samples, by which samples were drawn: the binomial's, with half a sample
    added to either side, so that it is above 0."""
    right = unpack_hits(hits)
    n = len(right) + 1
    share = (float(np.sum(right)) + 0.5) / n
    return math.sqrt(share * (1 - share) / n)


def accuracy_difference(hits: PackedHits | None, dense_hits: PackedHits | None) -> Interval | None:
    """A model's share of right samples minus the dense model's on the same samples, with its 95 % interval.

    None where either was not scored sample by sample, or not on as many samples. The interval is Wald's for matched
    proportions with half a sample added to each of the four cells ("Wald+2"), cut to -1..1: Agresti and Min, Simple
    improved confidence intervals for comparing matched proportions, Statistics in Medicine 24 (2005).
    """
    if hits is None or dense_hits is None:
        return None
    mine, dense = unpack_hits(hits), unpack_hits(dense_hits)
    n = len(mine)
    if n == 0 or n != len(dense):
        return None
    gained, lost = int(np.sum(mine & ~dense)), int(np.sum(dense & ~mine))
    centre = (gained - lost) / (n + 2)
    variance = (gained + lost + 1) - (gained - lost) ** 2 / (n + 2)
    half = NORMAL_QUANTILE * math.sqrt(variance) / (n + 2)
    value = (gained - lost) / n
    return Interval(value=value, low=min(value, max(-1.0, centre - half)), high=max(value, min(1.0, centre + half)))
