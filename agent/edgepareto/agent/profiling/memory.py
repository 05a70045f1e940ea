"""How many workers the board's memory holds at once, and which models it cannot hold at all."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["fitting", "too_large"]

WORKERS_SHARE_OF_MEMORY = 0.5  # of what was free before they started


def fitting(private_bytes: Sequence[int], free_bytes: int) -> int:
    """How many workers, in this order, may stay: their private memory within half of what was free before they started.

    At least two, the anchor and one candidate, where there are as many.
    """
    used = 0
    for count, size in enumerate(private_bytes):
        used += size
        if count >= 2 and used > WORKERS_SHARE_OF_MEMORY * free_bytes:
            return count
    return len(private_bytes)


def too_large(model_bytes: int, free_bytes: int | None) -> str | None:
    """Why a model cannot be loaded at all: its weights alone take more memory than is free. None where it may be tried.

    A lower bound, so no model is refused that might run. Trying costs a board its swap, or another program of its own
    that the kernel ends in the model's place.
    """
    if free_bytes is None or model_bytes <= free_bytes:
        return None
    return (
        f"the model's file holds {model_bytes / 1e6:,.0f} MB and the board has {free_bytes / 1e6:,.0f} MB of memory "
        "free; its weights alone take as much: free memory there, or choose a smaller model"
    )
