"""The latency rounds of a batch: interleaved blocks, the anchor first in each, until every candidate is settled."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import islice

from edgepareto.agent.profiling.board_watch import BoardWatch
from edgepareto.agent.profiling.context import BatchContext
from edgepareto.agent.profiling.job import Job
from edgepareto.agent.profiling.schedule import anchored_orders
from edgepareto.agent.profiling.stop_rule import NOT_CONVERGED, is_settled

__all__ = ["LatencyRounds"]

EARLY_BLOCKS = 3  # of the anchor before its level is judged: their median stands one disturbed block


class LatencyRounds:
    """Of all groups of a batch, one after the other; rounds count on.

    on_anchor: called once, when the anchor has EARLY_BLOCKS blocks, so that a board that drifted wastes no batch.
    Raises BatchVoid, Cancelled.
    """

    def __init__(self, context: BatchContext, watch: BoardWatch, *, on_anchor: Callable[[], None]) -> None:
        self._context = context
        self._watch = watch
        self._on_anchor: Callable[[], None] | None = on_anchor
        self._next_round = 0

    def measure(self, group: Sequence[Job]) -> None:
        """A model leaves when it is settled, the anchor never before the others. Ends early where the anchor fails."""
        anchor, preset = self._context.anchor, self._context.preset
        orders = anchored_orders(anchor, group, self._context.request.order_seed)
        for count, order in enumerate(islice(orders, preset.maximum_rounds)):
            waiting = [job for job in order if job.is_measurable and not self._is_finished(job, count)]
            if not waiting or not anchor.is_measurable:
                break
            self._round([job for job in order if job is anchor or job in waiting], count)
        for job in (anchor, *group):
            if job.is_measurable:
                job.tags.discard(NOT_CONVERGED)  # the anchor's, from the group before
                if not _is_settled(job):
                    job.tags.add(NOT_CONVERGED)

    def _round(self, jobs: Sequence[Job], count: int) -> None:
        preset = self._context.preset
        rounds = preset.minimum_rounds if count < preset.minimum_rounds else preset.maximum_rounds
        for position, job in enumerate(jobs):
            self._context.tell("latency", job, count, rounds)
            self._block(job, position)
            if job.is_anchor and len(job.blocks) == EARLY_BLOCKS and self._on_anchor is not None:
                self._on_anchor()
                self._on_anchor = None
        self._next_round += 1

    def _block(self, job: Job, position: int) -> None:
        block = self._watch.undisturbed(
            [job],
            lambda: job.timed_block(self._context.preset, round=self._next_round, position=position),
            what=f"a latency block of {job.spec.candidate_id}",
        )
        if block is not None:
            job.blocks.append(block)

    def _is_finished(self, job: Job, count: int) -> bool:
        return count >= self._context.preset.minimum_rounds and _is_settled(job)


def _is_settled(job: Job) -> bool:
    return is_settled([statistics.median(block.run_ns) for block in job.blocks])
