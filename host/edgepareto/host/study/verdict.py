"""What the jobs of one candidate on one device say so far: is it measured, worth another try, or infeasible?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from edgepareto.host.domain import Job, Status

__all__ = ["Verdict", "verdict"]

CRASH_RETRIES = 1  # TIMEOUT, WORKER_CRASHED: probably the candidate's own fault
VOID_RETRIES = 2  # throttling, contention, a reboot: the candidate is innocent
METER_RETRIES = 1


class Verdict(str, Enum):
    MEASURED = "measured"
    RETRY = "retry"
    INFEASIBLE = "infeasible"


def verdict(jobs: Sequence[Job], *, needs_energy: bool) -> Verdict:
    """jobs: in the order they were measured, at least one. A job without the energy that is needed is half a job."""
    if any(job.status.is_permanent for job in jobs):
        return Verdict.INFEASIBLE
    if any(job.usable and not (needs_energy and job.energy is None) for job in jobs):
        return Verdict.MEASURED
    crashes = sum(job.status in (Status.TIMEOUT, Status.WORKER_CRASHED) for job in jobs)
    without_energy = sum(job.usable for job in jobs)
    voids = len(jobs) - crashes - without_energy
    tries_left = crashes <= CRASH_RETRIES and voids <= VOID_RETRIES and without_energy <= METER_RETRIES
    return Verdict.RETRY if tries_left else Verdict.INFEASIBLE
