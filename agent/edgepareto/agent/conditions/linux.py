"""What a plain Linux box tells of its state, read below one root so that a fake tree tests it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Conditions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """None: this box does not tell. contention: share of CPU time used by others, 0..1."""

    temperature_c: float | None = None
    frequency_hz: float | None = None
    governor: str | None = None
    throttle_bits: int | None = None
    contention: float | None = None
    free_memory_bytes: int | None = None
