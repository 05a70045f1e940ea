"""What the anchor of a study takes on a board: the level from which the agent tells drift (docs/measurement.md).

Never silently re-based: it is the first batches of a boot under one governor and clock mode that count, whatever came
later. It is learnt from traces in the order of their batches, so a replay tells the agent the same.
"""

from __future__ import annotations

from statistics import median

from edgepareto.host.domain import AnchorBaseline, ProfileTrace, Status

__all__ = ["FIRST_BATCHES", "AnchorBaselines"]

FIRST_BATCHES = 3


class AnchorBaselines:
    """One device's. Keeps the block medians of the first batches of each boot, governor and clock mode, nothing of the
    others."""

    def __init__(self) -> None:
        self._block_medians_ns: dict[tuple[str, str | None, str], list[list[float]]] = {}
        self._latest: dict[str, tuple[str, str | None, str]] = {}  # by clock mode

    def learn(self, anchor: ProfileTrace) -> None:
        """The anchor's trace of the next batch; one that is not usable teaches nothing."""
        if anchor.status is not Status.OK or not anchor.blocks:
            return
        key = self._latest[anchor.clock_mode] = (anchor.boot_id, anchor.before.governor, anchor.clock_mode)
        first = self._block_medians_ns.setdefault(key, [])
        if len(first) < FIRST_BATCHES:
            first.append([median(block.run_ns) for block in anchor.blocks])

    def present(self, clock_mode: str = "") -> AnchorBaseline | None:
        """Of the boot and governor last seen in this mode; None before they have FIRST_BATCHES usable batches."""
        latest = self._latest.get(clock_mode)
        if latest is None or len(self._block_medians_ns[latest]) < FIRST_BATCHES:
            return None
        boot_id, governor, _ = latest
        level_ns = median(ns for batch in self._block_medians_ns[latest] for ns in batch)
        return AnchorBaseline(latency_ns=round(level_ns), boot_id=boot_id, governor=governor)
