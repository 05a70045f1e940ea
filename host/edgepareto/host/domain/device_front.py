"""What a user looks at: the front of each device, with the candidates it was chosen from."""

from __future__ import annotations

from dataclasses import dataclass

from edgepareto.host.domain.candidate import Candidate
from edgepareto.host.domain.device import DeviceInfo
from edgepareto.host.domain.measurement import Measurement, Repeatability

__all__ = ["DeviceFront", "FrontPoint", "StudyFronts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One measured candidate on one device. `accuracy` stands in the candidate: validation and, for finalists, test."""

    candidate: Candidate
    measurement: Measurement
    is_knee: bool = False

    @property
    def accuracy(self) -> float:
        assert self.candidate.accuracy is not None, "a measured candidate was scored"
        return self.candidate.accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFront:
    """front: non-dominated and within the user's limits, fastest first. others: every other measured candidate.

    complete: False where the device was lost or the search was stopped before its end. hypervolume: of the front, on
    the study's fixed scale. shrinkage: by how many
    percent the front's latencies grew when measured again (winner's curse).
    has_energy: False where the device has no meter, energy is then no objective.
    """

    device: DeviceInfo
    complete: bool
    incomplete_reason: str | None
    measured: int
    dense: FrontPoint
    front: tuple[FrontPoint, ...]
    others: tuple[FrontPoint, ...]
    hypervolume: float
    limits: Repeatability
    has_energy: bool
    runtime: str
    precision: str = "fp32"
    threads: int = 1
    shrinkage: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFronts:
    study: str
    model: str
    metric: str
    preset: str
    algorithm: str
    has_test_split: bool
    devices: tuple[DeviceFront, ...]
