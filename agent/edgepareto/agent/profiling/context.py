"""What every step of one batch works with: what is asked for, the board, the jobs, and a way to say how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgepareto.agent.profiling.board import Board
from edgepareto.agent.profiling.job import Job
from edgepareto.agent.profiling.schedule import Preset
from edgepareto.agent.profiling.trace import BatchRequest, Progress
from edgepareto.agent.worker.child import Cancelled

__all__ = ["BatchContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContext:
    """jobs: the anchor's first, then in request order. cancelled: whether the batch was called off."""

    request: BatchRequest
    board: Board
    preset: Preset
    jobs: tuple[Job, ...]
    on_progress: Callable[[Progress], None]
    cancelled: Callable[[], bool]

    @property
    def anchor(self) -> Job:
        return self.jobs[0]

    def tell(self, stage: str, job: Job, round: int = 0, rounds: int = 0) -> None:
        """Before each step. Raises Cancelled."""
        if self.cancelled():
            raise Cancelled("the batch was called off")
        self.on_progress(Progress(stage=stage, candidate_id=job.spec.candidate_id, round=round, rounds=rounds))

    def tag(self, *tags: str) -> None:
        for job in self.jobs:
            job.tags.update(tags)
