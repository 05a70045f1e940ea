"""How many samples the ranges of activations are learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgepareto.host.errors import DataError
from edgepareto.host.export.parity import Feed

__all__ = ["CALIBRATION_SAMPLES", "FEWEST_SAMPLES", "calibrating"]

CALIBRATION_SAMPLES = 32  # 8 to 512 differ by less than their own noise (docs/int8.md)
FEWEST_SAMPLES = 8


def calibrating(feeds: Sequence[Feed]) -> Sequence[Feed]:
    """The first of them. Raises DataError where there are too few to tell a range by."""
    if len(feeds) < FEWEST_SAMPLES:
        raise DataError(
            f"int8 learns the ranges of activations from calibration samples; there are {len(feeds)}, it needs "
            f"{FEWEST_SAMPLES} and uses up to {CALIBRATION_SAMPLES}; give more, labels are not needed"
        )
    used = feeds[:CALIBRATION_SAMPLES]
    if all(np.array_equal(feed[name], used[0][name]) for feed in used[1:] for name in feed):
        raise DataError(
            f"int8 learns the ranges of activations from calibration samples, and the first {len(used)} are all the "
            "same; give samples as the model will meet them"
        )
    return used
