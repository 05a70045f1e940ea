"""One candidate in one batch on one device: its raw trace reduced to numbers. Pure: it can be done again any time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.device import DeviceName, Meter, MeterQuality
from edgepareto.host.domain.interval import Interval, t_interval
from edgepareto.host.domain.meter_uncertainty import meter_error
from edgepareto.host.domain.trace import (
    Conditions,
    LatencyBlock,
    MeterStatus,
    PowerWindow,
    ProfileTrace,
    Purpose,
    RuntimeUsed,
    Status,
)
from numpy.typing import NDArray

Array = NDArray[np.float64]

__all__ = ["Job", "JobEnergy", "JobLatency", "reduce_trace"]

FLOOR_BLOCKS = 5  # a fixed number, else more blocks read lower
FLOOR_QUANTILE = 0.25
MINIMUM_IN_TAIL = 10  # a percentile p only where n (1 - p) reaches this
ROUNDING = 1e-9  # 100 (1 - 0.9) is 9.999999999999998
FEWEST_FOR_DRIFT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLatency:
    """median_s: median of block medians, their t-interval. p90_s, p99_s only where enough runs stand in the tail.

    between_block_cv: sd over mean of the block medians; drift: by which share they rose from the first block to the
    last along their least-squares line. None where there are too few blocks to tell.
    """

    median_s: Interval
    floor_s: float
    p90_s: float | None
    p99_s: float | None
    runs: int
    blocks: int
    mean_s: float
    minimum_s: float
    block_medians_s: tuple[float, ...]
    between_block_cv: float | None
    drift: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnergy:
    """total_j per inference with its whole k = 2 interval; dynamic_j the same above idle, None without idle windows.

    systematic_j, dynamic_systematic_j: the meter's part of those half widths. It is the same error in every job of the
    board, so it cancels between candidates and no repeat makes it smaller. None for a meter that publishes no figure,
    such as rapl. latency_s: inside the windows, with the meter running. rate_hz: samples a second. largest_gap_s:
    without a sample, window edges included. means_bias_w: what mean voltage times mean current would read too much,
    because the supply sags under load: -Cov(V, I) = R_sag x Var(I); None without voltages.
    """

    total_j: Interval
    systematic_j: float | None
    dynamic_j: Interval | None
    dynamic_systematic_j: float | None
    mean_power_w: float
    idle_power_w: float | None
    peak_power_w: float
    lowest_bus_v: float | None
    means_bias_w: float | None
    latency_s: float
    windows: int
    samples: int
    rate_hz: float
    largest_gap_s: float
    dropped: int
    clipped: int
    i2c_errors: int

    @property
    def statistical_j(self) -> Interval:
        """total_j with what repeats do make smaller."""
        return _without(self.total_j, self.systematic_j)

    @property
    def dynamic_statistical_j(self) -> Interval | None:
        return None if self.dynamic_j is None else _without(self.dynamic_j, self.dynamic_systematic_j)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One candidate in one batch on one device, reduced. What was not measured is None, never 0.

    before, after: the board's conditions around the batch. anchor_ratio: the anchor's latency over its baseline.
    voided: blocks and windows that were void and measured again. protocol: its version.
    """

    candidate: CandidateId
    device: DeviceName
    job_id: str
    purpose: Purpose
    attempt: int
    status: Status
    message: str
    preset: str
    is_anchor: bool
    simulated: bool
    tags: frozenset[str]
    model_sha256: str
    board_id: str
    boot_id: str
    agent_version: str
    protocol: int
    runtime: RuntimeUsed | None
    build_s: float | None
    load_s: float | None
    first_run_s: float | None
    output_error: float | None
    latency: JobLatency | None
    meter_status: MeterStatus
    meter: Meter | None
    energy: JobEnergy | None
    before: Conditions
    after: Conditions
    peak_rss_bytes: int | None
    anchor_ratio: float | None
    voided: int

    @property
    def usable(self) -> bool:
        return self.latency is not None


def reduce_trace(trace: ProfileTrace) -> Job:
    """The numbers of one job. Where the trace's status is not OK no number is made up: only status and message stay."""
    measured = trace.status is Status.OK and bool(trace.blocks)
    return Job(
        candidate=trace.candidate,
        device=trace.device,
        job_id=trace.job_id,
        purpose=trace.purpose,
        attempt=trace.attempt,
        status=trace.status,
        message=trace.message,
        preset=trace.preset,
        is_anchor=trace.is_anchor,
        simulated=trace.simulated,
        tags=trace.tags,
        model_sha256=trace.model_sha256,
        board_id=trace.board_id,
        boot_id=trace.boot_id,
        agent_version=trace.agent_version,
        protocol=trace.protocol,
        runtime=trace.runtime,
        build_s=_seconds(trace.build_ns),
        load_s=_seconds(trace.load_ns),
        first_run_s=_seconds(trace.first_run_ns),
        output_error=trace.output_error,
        latency=_latency(trace.blocks) if measured else None,
        meter_status=trace.meter_status,
        meter=trace.meter,
        energy=_energy(trace.windows, trace.meter) if measured and trace.meter_status is MeterStatus.OK else None,
        before=trace.before,
        after=trace.after,
        peak_rss_bytes=trace.peak_rss_bytes,
        anchor_ratio=trace.anchor_ratio,
        voided=trace.voided,
    )


def _latency(blocks: Sequence[LatencyBlock]) -> JobLatency:
    in_seconds = [np.asarray(block.run_ns, dtype=float) * 1e-9 for block in blocks]
    medians = np.array([np.median(block) for block in in_seconds])
    runs = np.concatenate(in_seconds)
    return JobLatency(
        median_s=t_interval(medians, float(np.median(medians))),
        floor_s=float(np.quantile(np.concatenate(in_seconds[:FLOOR_BLOCKS]), FLOOR_QUANTILE)),
        p90_s=_tail(runs, 0.90),
        p99_s=_tail(runs, 0.99),
        runs=int(runs.size),
        blocks=len(blocks),
        mean_s=float(runs.mean()),
        minimum_s=float(runs.min()),
        block_medians_s=tuple(medians.tolist()),
        between_block_cv=float(medians.std(ddof=1) / medians.mean()) if len(medians) > 1 else None,
        drift=_drift(medians),
    )


def _energy(windows: Sequence[PowerWindow], meter: Meter | None) -> JobEnergy | None:
    busy = [w for w in windows if w.busy and w.power_uw and w.inferences]
    if not busy:
        return None
    counts = meter is not None and meter.quality is MeterQuality.COUNTER
    idle = [_mean_power_w(w, counts=counts) for w in windows if not w.busy and w.power_uw]
    idle_w = float(np.mean(idle)) if idle else None
    power_w = np.array([_mean_power_w(w, counts=counts) for w in busy])
    durations_s = np.array([(w.end_ns - w.start_ns) * 1e-9 for w in busy])
    seconds = durations_s / np.array([w.inferences for w in busy])
    error = None if meter is None else meter_error(meter)
    bus_v = np.concatenate([np.asarray(w.bus_uv, dtype=float) for w in busy]) * 1e-6
    systematic_j = dynamic_systematic_j = None
    if error is not None:
        mean_v = float(bus_v.mean()) if bus_v.size else None
        systematic_j = error.of_power(float(power_w.mean()), mean_v) * float(seconds.mean())
        if idle_w is not None:
            dynamic_systematic_j = error.of_difference(float(power_w.mean()) - idle_w) * float(seconds.mean())
    samples = sum(len(w.power_uw) for w in busy)
    return JobEnergy(
        total_j=_with(power_w * seconds, systematic_j),
        systematic_j=systematic_j,
        dynamic_j=None if idle_w is None else _with((power_w - idle_w) * seconds, dynamic_systematic_j),
        dynamic_systematic_j=dynamic_systematic_j,
        mean_power_w=float(power_w.mean()),
        idle_power_w=idle_w,
        peak_power_w=max(max(w.power_uw) for w in busy) * 1e-6,
        lowest_bus_v=float(bus_v.min()) if bus_v.size else None,
        means_bias_w=_means_bias_w(busy),
        latency_s=float(seconds.mean()),
        windows=len(busy),
        samples=samples,
        rate_hz=samples / float(durations_s.sum()),
        largest_gap_s=max(_largest_gap_s(w) for w in busy),
        dropped=sum(w.dropped for w in windows),
        clipped=sum(w.clipped for w in windows),
        i2c_errors=sum(w.i2c_errors for w in windows),
    )


def _mean_power_w(window: PowerWindow, *, counts: bool) -> float:
    """counts: each sample is the mean power since the one before, however long ago that was."""
    power_uw = np.asarray(window.power_uw, dtype=float)
    if not counts:
        return float(power_uw.mean()) * 1e-6
    lasted_ns = np.diff([window.start_ns, *window.timestamp_ns])
    return float(np.average(power_uw, weights=lasted_ns)) * 1e-6


def _with(samples: Array, systematic: float | None) -> Interval:
    """The mean of windows with its t-interval and the meter's own error."""
    found = t_interval(samples, float(samples.mean()))
    return found.with_half_width(math.hypot(found.half_width, systematic or 0.0))


def _without(interval: Interval, systematic: float | None) -> Interval:
    return interval.with_half_width(math.sqrt(max(0.0, interval.half_width**2 - (systematic or 0.0) ** 2)))


def _tail(runs: Array, quantile: float) -> float | None:
    enough = runs.size * (1 - quantile) >= MINIMUM_IN_TAIL - ROUNDING
    return float(np.quantile(runs, quantile)) if enough else None


def _drift(medians: Array) -> float | None:
    if len(medians) < FEWEST_FOR_DRIFT:
        return None
    slope, start = np.polyfit(np.arange(len(medians)), medians, 1)
    return float(slope * (len(medians) - 1) / start) if start > 0 else None


def _largest_gap_s(window: PowerWindow) -> float:
    inside = [stamp for stamp in window.timestamp_ns if window.start_ns <= stamp <= window.end_ns]
    return float(np.max(np.diff([window.start_ns, *inside, window.end_ns]))) * 1e-9


def _means_bias_w(windows: Sequence[PowerWindow]) -> float | None:
    """Of all windows' samples together, each against its own window's means."""
    products, samples = 0.0, 0
    for window in windows:
        if len(window.bus_uv) != len(window.power_uw) or not all(window.bus_uv):
            return None
        bus_v = np.asarray(window.bus_uv, dtype=float) * 1e-6
        current_a = np.asarray(window.power_uw, dtype=float) * 1e-6 / bus_v
        products -= float(((bus_v - bus_v.mean()) * (current_a - current_a.mean())).sum())
        samples += len(bus_v)
    return products / samples


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds * 1e-9
