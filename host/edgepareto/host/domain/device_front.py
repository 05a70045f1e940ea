"""What a user looks at: the front of each device, with the candidates it was chosen from."""

from __future__ import annotations

from dataclasses import dataclass

from edgepareto.host.domain.candidate import Candidate
from edgepareto.host.domain.circumstances import Circumstances
from edgepareto.host.domain.deployment import Deployment
from edgepareto.host.domain.device import DeviceInfo, MeterQuality
from edgepareto.host.domain.incident import Incident
from edgepareto.host.domain.interval import Interval
from edgepareto.host.domain.measurement import EnergyObjective, Measurement, Repeatability
from edgepareto.host.domain.paired_accuracy import accuracy_difference
from edgepareto.host.domain.smaller_not_faster import Work, is_smaller_not_faster
from edgepareto.host.domain.verified import Verified

__all__ = ["DeviceFront", "FrontPoint", "Shrinkage", "Sparing", "StudyFronts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One measured candidate on one device. `accuracy` stands in the candidate: validation and, for finalists, test.

    verified: what scoring on the device itself said; None: it was not scored there.
    """

    candidate: Candidate
    measurement: Measurement
    is_knee: bool = False
    circumstances: Circumstances | None = None
    verified: Verified | None = None

    @property
    def accuracy(self) -> float:
        assert self.candidate.accuracy is not None, "a measured candidate was scored"
        return self.candidate.accuracy

    @property
    def work(self) -> Work:
        return Work(macs=self.candidate.macs, latency_s=self.measurement.latency_s.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrinkage:
    """By which share the members of the search's own front grew when measured again: the best of many noisy numbers is
    partly luck (winner's curse). candidates: how many were measured again. energy None: no objective."""

    candidates: int
    latency: float
    energy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparing:
    """Candidates that have a score and were thought to have no chance on a front.

    below: not measured, the score alone is below the user's minimum. candidates: not measured, the least they may cost
    is beyond a limit or no better than something measured. audited: more of those, drawn and measured all the same;
    on_front: how many of these are on it.
    """

    below: int
    candidates: int
    audited: int
    on_front: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFront:
    """front: non-dominated and within the user's limits, fastest first. others: every other measured candidate.

    complete: False where the device was lost or the search was stopped before its end. hypervolume: of the front, on
    the study's fixed scale. shrinkage None: nothing was measured again. sparing None: all that was asked for was
    measured.
    has_energy: False where the device has no meter or it failed, energy is then no objective; else energy_objective is
    which. threads: where a candidate's deployment does not say. incidents: of all runs of the study; no number depends
    on them.
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
    threads: int = 1
    shrinkage: Shrinkage | None = None
    sparing: Sparing | None = None
    notes: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()
    energy_objective: EnergyObjective = EnergyObjective.TOTAL

    @property
    def energy_is_estimate(self) -> bool:
        """The meter does not see all that the board draws, or guesses it."""
        meter = self.device.meter
        return self.has_energy and meter is not None and meter.quality is MeterQuality.ESTIMATE

    def is_smaller_not_faster(self, point: FrontPoint) -> bool:
        """Of all candidates measured here and run in the same way; for `host profile --ops` to explain."""
        way = point.candidate.genome.deployment
        others = (o.work for o in (*self.front, *self.others) if o.candidate.genome.deployment == way)
        dense = self.dense.work if self.dense.candidate.genome.deployment == way else None
        return is_smaller_not_faster(point.work, others, dense, self.limits.latency)

    def deployment(self, point: FrontPoint) -> Deployment:
        """How it ran here, with the threads that it had."""
        return point.candidate.genome.deployment.on_device(self.threads)

    @property
    def varies_deployments(self) -> bool:
        return len({point.candidate.genome.deployment for point in (self.dense, *self.front, *self.others)}) > 1

    def twin(self, point: FrontPoint) -> FrontPoint | None:
        """The distilled version of a candidate that is not, or what a distilled one was made from."""
        mine = point.candidate
        found = (
            other
            for other in (*self.front, *self.others)
            if other.candidate.genome == mine.genome
            and other.candidate.recipe.undistilled == mine.recipe.undistilled
            and other.candidate.recipe.is_distilled != mine.recipe.is_distilled
        )
        return next(found, None)

    def energy(self, point: FrontPoint) -> Interval | None:
        """The energy per inference that was the objective here."""
        return point.measurement.energy(self.energy_objective)

    def accuracy_difference(self, point: FrontPoint) -> Interval | None:
        """To the dense model on the same validation samples; None for a metric that counts no samples."""
        return accuracy_difference(point.candidate.validation_hits, self.dense.candidate.validation_hits)

    def test_accuracy_difference(self, point: FrontPoint) -> Interval | None:
        return accuracy_difference(point.candidate.test_hits, self.dense.candidate.test_hits)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFronts:
    study: str
    model: str
    metric: str
    preset: str
    algorithm: str
    has_test_split: bool
    devices: tuple[DeviceFront, ...]
