"""What the anchor of a study takes on a board: the level from which the agent tells drift (docs/measurement.md).

Never silently re-based: it is the first batches of a boot under one governor that count, whatever came later. It is
learnt from traces in the order of their batches, so a replay tells the agent the same.
"""

from __future__ import annotations

from statistics import median

from edgepareto.host.domain import AnchorBaseline, ProfileTrace, Status

__all__ = ["FIRST_BATCHES", "AnchorBaselines"]

FIRST_BATCHES = 3


class AnchorBaselines:
    """One device's. Keeps the block medians of the first batches of each boot and governor, nothing of the others."""

    def __init__(self) -> None:
        self._block_medians_ns: dict[tuple[str, str | None], list[list[float]]] = {}
        self._latest: tuple[str, str | None] | None = None

    def learn(self, anchor: ProfileTrace) -> None:
        """The anchor's trace of the next batch; one that is not usable teaches nothing."""
        if anchor.status is not Status.OK or not anchor.blocks:
            return
        self._latest = (anchor.boot_id, anchor.before.governor)
        first = self._block_medians_ns.setdefault(self._latest, [])
        if len(first) < FIRST_BATCHES:
            first.append([median(block.run_ns) for block in anchor.blocks])

    def present(self) -> AnchorBaseline | None:
        """Of the boot and governor last seen; None before they have FIRST_BATCHES usable batches."""
        if self._latest is None or len(self._block_medians_ns[self._latest]) < FIRST_BATCHES:
            return None
        boot_id, governor = self._latest
        level_ns = median(ns for batch in self._block_medians_ns[self._latest] for ns in batch)
        return AnchorBaseline(latency_ns=round(level_ns), boot_id=boot_id, governor=governor)
