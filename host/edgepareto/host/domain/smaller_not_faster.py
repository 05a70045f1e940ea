"""Candidates that do clearly less arithmetic and are not faster for it. Pure.

Padding to a kernel's step, a layer bound by memory, or a fast path that is lost cost what the pruning saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Work", "is_smaller_not_faster"]

CLEARLY_FEWER = 0.95  # of the other's MACs, at most: a smaller difference need not show in the latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a candidate computes and how long it takes on one device. macs None: not counted."""

    macs: int | None
    latency_s: float

    def has_clearly_fewer_macs(self, other: Work) -> bool:
        return self.macs is not None and other.macs is not None and self.macs <= CLEARLY_FEWER * other.macs

    def is_faster(self, other: Work, limit: float) -> bool:
        return self.latency_s * (1 + limit) < other.latency_s


def is_smaller_not_faster(work: Work, others: Iterable[Work], dense: Work | None, limit: float) -> bool:
    """At least 5 % fewer MACs than another measured candidate that is faster by more than the repeatability limit r_k,
    or than the dense model without being faster than it by more than r_k.

    others: all measured on the same device and run in the same way. dense None: it was not run so. limit: r_k of
    latency, a ratio. False where it is 0, not known.
    """
    if limit <= 0:
        return False
    beaten = any(work.has_clearly_fewer_macs(other) and other.is_faster(work, limit) for other in others)
    return beaten or (dense is not None and work.has_clearly_fewer_macs(dense) and not work.is_faster(dense, limit))
