"""Short signals in which one of eight motifs lies somewhere in coloured noise: what the trained networks here tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "MOTIFS", "STEPS", "motif_signals"]

MOTIFS, STEPS, CHANNELS = 8, 24, 6
LENGTH = 9


def motif_signals(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(count, STEPS, CHANNELS), and which motif each holds. The motifs are the same whatever the seed."""
    motifs = np.cumsum(np.random.default_rng(123).normal(size=(MOTIFS, LENGTH, CHANNELS)), axis=1)
    motifs -= motifs.mean(axis=1, keepdims=True)
    motifs /= motifs.std(axis=(1, 2), keepdims=True)
    random = np.random.default_rng(seed)
    signals = random.normal(size=(count, STEPS, CHANNELS))
    for step in range(1, STEPS):
        signals[:, step] = 0.6 * signals[:, step - 1] + 0.8 * signals[:, step]
    signals *= 0.9
    which = random.integers(0, MOTIFS, count)
    starts = random.integers(0, STEPS - LENGTH + 1, count)
    steps = starts[:, None] + np.arange(LENGTH)
    signals[np.arange(count)[:, None], steps] += motifs[which] * random.uniform(0.7, 1.3, (count, 1, 1))
    return signals.astype(np.float32), which
