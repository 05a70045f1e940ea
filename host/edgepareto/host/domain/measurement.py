"""From raw traces to numbers that can be ranked: reduce a job, pool jobs, say how repeatable a device is. Pure.

The interval of one job is too narrow on its own, because drift between jobs is the larger error; so the pooled interval
is widened by the between-job variance of the anchor and of every repeated candidate (docs/measurement.md).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.device import DeviceName, Meter
from edgepareto.host.domain.trace import LatencyBlock, MeterStatus, PowerWindow, ProfileTrace, Status
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]

__all__ = [
    "Interval",
    "Job",
    "JobEnergy",
    "JobLatency",
    "Measurement",
    "Repeatability",
    "pool",
    "reduce_trace",
    "repeatability",
]

CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.96
REPEATABILITY_FACTOR = 2.77  # ISO 5725-6: two results of one laboratory differ by more in 5 % of cases; 1.96 * sqrt(2)
SYSTEMATIC_ENERGY = {"ina219": 0.016}  # by meter, k = 2: gain 0.5 %, 1 % shunt and ADC
DISTURBED = frozenset({Status.CONTENDED.value, Status.ANCHOR_DRIFT.value})  # tags of a number that is used all the same
FLOOR_BLOCKS = 5  # a fixed number, else more blocks read lower
FLOOR_QUANTILE = 0.25
MINIMUM_IN_TAIL = 10  # a percentile p only where n (1 - p) reaches this


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its 95 % interval, SI units."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLatency:
    """median_s: median of block medians, their t-interval. p90_s, p99_s only where enough runs stand in the tail."""

    median_s: Interval
    floor_s: float
    p90_s: float | None
    p99_s: float | None
    runs: int
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnergy:
    """total_j per inference with its whole k = 2 interval; dynamic_j above idle.

    systematic_j: the meter's part of that interval's half width. It is the same error in every job of the board, so it
    cancels between candidates and no repeat makes it smaller. 0 for a meter that publishes no figure, such as rapl.
    """

    total_j: Interval
    systematic_j: float
    dynamic_j: float | None
    mean_power_w: float
    idle_power_w: float | None
    lowest_bus_v: float | None
    windows: int
    samples: int

    @property
    def statistical_j(self) -> Interval:
        """total_j with what repeats do make smaller."""
        half = math.sqrt(max(0.0, self.total_j.half_width**2 - self.systematic_j**2))
        return Interval(value=self.total_j.value, low=self.total_j.value - half, high=self.total_j.value + half)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One candidate in one batch on one device, reduced. What was not measured is None, never 0."""

    candidate: CandidateId
    device: DeviceName
    job_id: str
    status: Status
    message: str
    preset: str
    is_anchor: bool
    simulated: bool
    tags: frozenset[str]
    meter_status: MeterStatus
    latency: JobLatency | None
    energy: JobEnergy | None

    @property
    def usable(self) -> bool:
        return self.latency is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One candidate on one device, pooled over its jobs. SI units; what was not measured is None, never 0."""

    candidate: CandidateId
    device: DeviceName
    latency_s: Interval
    energy_j: Interval | None
    dynamic_energy_j: float | None
    jobs: int
    simulated: bool
    preset: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatability:
    """How far two jobs of one candidate on one device may lie apart, as a ratio: r_k = 2.77 x the between-job CV.

    `repeats` are the degrees of freedom behind it; with none the limits are 0 and nothing may be called reproducible.
    """

    latency: float
    energy: float
    repeats: int

    @property
    def latency_cv(self) -> float:
        return self.latency / REPEATABILITY_FACTOR

    @property
    def energy_cv(self) -> float:
        return self.energy / REPEATABILITY_FACTOR


def reduce_trace(trace: ProfileTrace) -> Job:
    """The numbers of one job. Where the trace's status is not OK no number is made up: only status and message stay."""
    measured = trace.status is Status.OK and bool(trace.blocks)
    return Job(
        candidate=trace.candidate,
        device=trace.device,
        job_id=trace.job_id,
        status=trace.status,
        message=trace.message,
        preset=trace.preset,
        is_anchor=trace.is_anchor,
        simulated=trace.simulated,
        tags=trace.tags,
        meter_status=trace.meter_status,
        latency=_latency(trace.blocks) if measured else None,
        energy=_energy(trace.windows, trace.meter) if measured and trace.meter_status is MeterStatus.OK else None,
    )


def pool(jobs: Sequence[Job], limits: Repeatability) -> Measurement | None:
    """All usable jobs of one candidate on one device as one estimate, each job weighing the same; None without any.

    A job tagged CONTENDED or ANCHOR_DRIFT counts as uncertain as one block (one window) of it: what disturbs a board
    outlasts a block, so their number does not average it away.
    Raises nothing; the jobs must be of one candidate and one device.
    """
    usable = [job for job in jobs if job.usable]
    if not usable:
        return None
    assert len({(job.candidate, job.device) for job in usable}) == 1
    latencies = [_as_tagged(job, job.latency.median_s, job.latency.blocks) for job in usable if job.latency]
    energies = [job.energy for job in usable if job.energy]
    statistical = [_as_tagged(job, job.energy.statistical_j, job.energy.windows) for job in usable if job.energy]
    systematic_j = float(np.mean([energy.systematic_j for energy in energies])) if energies else 0.0
    dynamic = [energy.dynamic_j for energy in energies if energy.dynamic_j is not None]
    return Measurement(
        candidate=usable[0].candidate,
        device=usable[0].device,
        latency_s=_pooled(latencies, limits.latency_cv),
        energy_j=_pooled(statistical, limits.energy_cv, systematic_j) if energies else None,
        dynamic_energy_j=float(np.mean(dynamic)) if dynamic else None,
        jobs=len(usable),
        simulated=usable[0].simulated,
        preset=usable[0].preset,
        tags=frozenset().union(*(job.tags for job in usable)),
    )


def repeatability(jobs: Iterable[Job]) -> Repeatability:
    """One pair of limits for a device, from every candidate that has at least two usable jobs (the anchor has most).

    Pooled variance of the logarithms, so the limits are ratios: s^2 = sum (n_i - 1) s_i^2 / sum (n_i - 1).
    """
    latencies: dict[CandidateId, list[float]] = defaultdict(list)
    energies: dict[CandidateId, list[float]] = defaultdict(list)
    for job in jobs:
        if job.latency:
            latencies[job.candidate].append(job.latency.median_s.value)
        if job.energy and job.energy.total_j.value > 0:
            energies[job.candidate].append(job.energy.total_j.value)
    latency_cv, repeats = _pooled_cv(latencies)
    energy_cv, _ = _pooled_cv(energies)
    return Repeatability(
        latency=REPEATABILITY_FACTOR * latency_cv, energy=REPEATABILITY_FACTOR * energy_cv, repeats=repeats
    )


def _latency(blocks: Sequence[LatencyBlock]) -> JobLatency:
    in_seconds = [np.asarray(block.run_ns, dtype=float) * 1e-9 for block in blocks]
    medians = np.array([np.median(block) for block in in_seconds])
    runs = np.concatenate(in_seconds)
    return JobLatency(
        median_s=_t_interval(medians, float(np.median(medians))),
        floor_s=float(np.quantile(np.concatenate(in_seconds[:FLOOR_BLOCKS]), FLOOR_QUANTILE)),
        p90_s=_tail(runs, 0.90),
        p99_s=_tail(runs, 0.99),
        runs=int(runs.size),
        blocks=len(blocks),
    )


def _energy(windows: Sequence[PowerWindow], meter: Meter | None) -> JobEnergy | None:
    busy = [w for w in windows if w.busy and w.power_uw and w.inferences]
    if not busy:
        return None
    idle = [float(np.mean(w.power_uw)) * 1e-6 for w in windows if not w.busy and w.power_uw]
    idle_w = float(np.mean(idle)) if idle else None
    power_w = np.array([np.mean(w.power_uw) * 1e-6 for w in busy])
    seconds = np.array([(w.end_ns - w.start_ns) * 1e-9 / w.inferences for w in busy])
    total = power_w * seconds
    value = float(total.mean())
    systematic = SYSTEMATIC_ENERGY.get(meter.kind, 0.0) * abs(value) if meter else 0.0
    half = math.hypot(_t_interval(total, value).half_width, systematic)
    voltages = [min(w.bus_uv) for w in busy if w.bus_uv]
    return JobEnergy(
        total_j=Interval(value=value, low=value - half, high=value + half),
        systematic_j=systematic,
        dynamic_j=None if idle_w is None else float(((power_w - idle_w) * seconds).mean()),
        mean_power_w=float(power_w.mean()),
        idle_power_w=idle_w,
        lowest_bus_v=min(voltages) * 1e-6 if voltages else None,
        windows=len(busy),
        samples=sum(len(w.power_uw) for w in busy),
    )


def _t_interval(samples: Array, centre: float) -> Interval:
    """Student's interval of the mean, set around `centre`. One sample has no spread: its interval is the point."""
    n = len(samples)
    if n < 2:
        return Interval(value=centre, low=centre, high=centre)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * samples.std(ddof=1) / math.sqrt(n))
    return Interval(value=centre, low=centre - half, high=centre + half)


def _tail(runs: Array, quantile: float) -> float | None:
    return float(np.quantile(runs, quantile)) if runs.size * (1 - quantile) >= MINIMUM_IN_TAIL else None


def _as_tagged(job: Job, interval: Interval, samples: int) -> Interval:
    half = interval.half_width * (math.sqrt(samples) if job.tags & DISTURBED else 1)
    return Interval(value=interval.value, low=interval.value - half, high=interval.value + half)


def _pooled(intervals: Sequence[Interval], between_cv: float, systematic: float = 0.0) -> Interval:
    """systematic: half width of an error that all jobs share."""
    value = float(np.mean([i.value for i in intervals]))
    within = float(np.mean([(i.half_width / NORMAL_QUANTILE) ** 2 for i in intervals]))
    half = NORMAL_QUANTILE * math.sqrt((within + (between_cv * value) ** 2) / len(intervals))
    half = math.hypot(half, systematic)
    return Interval(value=value, low=value - half, high=value + half)


def _pooled_cv(values: Mapping[CandidateId, Sequence[float]]) -> tuple[float, int]:
    groups = [np.log(v) for v in values.values() if len(v) > 1]
    freedom = sum(len(g) - 1 for g in groups)
    if not freedom:
        return 0.0, 0
    return math.sqrt(sum((len(g) - 1) * float(np.var(g, ddof=1)) for g in groups) / freedom), freedom
