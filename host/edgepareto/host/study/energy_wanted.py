"""Energy that is wanted and cannot be had: who asked for it, and the words for a job or a meter that gave none."""

from __future__ import annotations

from edgepareto.host.config import SearchConfig
from edgepareto.host.domain import Job

__all__ = ["energy_flags", "meter_said", "no_energy_text"]


def energy_flags(search: SearchConfig) -> list[str]:
    """The settings that ask for energy explicitly, as flags; [] where a search may go on without it."""
    wanted = {f"--energy {search.energy}": search.energy, "--max-energy-mj": search.constraints.max_energy_j}
    return [flag for flag, value in wanted.items() if value is not None]


def meter_said(job: Job) -> str:
    """Why a usable job has no energy: "METER_STUCK: no conversion became ready ..."."""
    return f"{job.meter_status.value}: {job.message}" if job.message else job.meter_status.value


def no_energy_text(job: Job) -> str:
    return f"{job.candidate} has no energy ({meter_said(job)}) and cannot be on the front"
