"""What jobs say: is the candidate measured, worth another try or infeasible, and is a batch the board's fault?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from edgepareto.host.domain import Job, Status

__all__ = ["Verdict", "board_fault", "needs_another_job", "never_ran", "verdict", "why_void"]

CRASH_RETRIES = 1  # TIMEOUT, WORKER_CRASHED: probably the candidate's own fault
VOID_RETRIES = 2  # void beside others that are not, so not for the board's sake alone
METER_RETRIES = 1
INDEPENDENT_JOBS = 2
FAILURES_BEFORE_GIVING_UP = 2
CRASHES = (Status.TIMEOUT, Status.WORKER_CRASHED)
ADVICE = {  # where the agent gives none: its messages have theirs behind a semicolon
    Status.UNDERVOLTAGE: "give it a stronger supply or a shorter cable",
    Status.THROTTLED: "cool it or give it a stronger supply",
    Status.TOO_HOT: "cool it: a heat sink, a fan, a cooler room",
    Status.CONTENDED: "stop what else runs on it",
    Status.ANCHOR_DRIFT: "let it rest, and see what else runs on it, its fan and its governor",
    Status.WRONG_PROVIDER: "install the runtime that has the provider that was asked for",
    Status.WRONG_CLOCK: "see what else sets its clocks, or take that mode out of its clock_modes",
}


class Verdict(str, Enum):
    MEASURED = "measured"
    RETRY = "retry"
    INFEASIBLE = "infeasible"


def verdict(jobs: Sequence[Job], *, needs_energy: bool) -> Verdict:
    """jobs: in the order they were measured, at least one, of batches that are not void.

    A job without the energy that is needed is half a job.
    """
    if any(job.status.is_permanent for job in jobs):
        return Verdict.INFEASIBLE
    if any(job.usable and not (needs_energy and job.energy is None) for job in jobs):
        return Verdict.MEASURED
    crashes = sum(job.status in CRASHES for job in jobs)
    without_energy = sum(job.usable for job in jobs)
    voids = len(jobs) - crashes - without_energy
    tries_left = crashes <= CRASH_RETRIES and voids <= VOID_RETRIES and without_energy <= METER_RETRIES
    return Verdict.RETRY if tries_left else Verdict.INFEASIBLE


def needs_another_job(jobs: Sequence[Job], *, needs_energy: bool) -> bool:
    """Has fewer than two independent jobs and did not fail too often. jobs: as for `verdict`, or none."""
    usable = sum(job.usable and not (needs_energy and job.energy is None) for job in jobs)
    failed = len(jobs) - usable
    permanent = any(job.status.is_permanent for job in jobs)
    return usable < INDEPENDENT_JOBS and not permanent and failed <= FAILURES_BEFORE_GIVING_UP


def never_ran(jobs: Sequence[Job]) -> str | None:
    """Why a model counts as one that cannot be measured here; None where it ran or may yet.

    One that ran is a good model: a later failure is the board's, not its own.
    """
    if any(job.usable for job in jobs) or verdict(jobs, needs_energy=False) is not Verdict.INFEASIBLE:
        return None
    failed = next((job for job in jobs if job.status.is_permanent), jobs[-1])
    return f"{failed.status.value} {failed.message}".rstrip()


def board_fault(batch: Sequence[Job]) -> Job | None:
    """The job that says why a batch is void, all of it; None where it is not. The anchor's job comes first.

    It is void where neither the anchor nor any candidate was measured and at least one of them for no fault of its own:
    then the conditions were wrong or nothing vouches for the board, and no candidate may suffer for that.
    """
    is_void = any(not _own_fault(job) for job in batch) and not any(job.usable for job in batch)
    return batch[0] if is_void else None


def why_void(fault: Job, *, advised: bool = False) -> str:
    """The verdict in the agent's words. advised: with what to do about it, where these do not say it already."""
    why = f"{fault.status.value} {fault.message}".rstrip()
    hint = ADVICE.get(fault.status) if advised and "; " not in fault.message else None
    return why if hint is None else f"{why}; {hint}"


def _own_fault(job: Job) -> bool:
    return job.status.is_permanent or job.status in CRASHES
