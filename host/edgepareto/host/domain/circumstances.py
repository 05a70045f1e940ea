"""Under what a candidate was measured on a device, over all its jobs: what a card says beside the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from statistics import median
from typing import TypeVar

from edgepareto.host.domain.device import Meter
from edgepareto.host.domain.job import Job

__all__ = ["Circumstances", "circumstances"]

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """SI units; None and (): not told by this board. Extremes are over all jobs, before and after each batch.

    latency_floor_s, latency_p90_s, latency_p99_s, between_block_cv, load_s, first_run_s, power_w, idle_power_w: medians
    over jobs. drift: of the job that drifted most. throttle_bits: every bit that was seen. retries: jobs that were not
    usable. agents: their versions. runtimes: "name version provider". protocol: the oldest of them. meter: the last
    job's, with its range.
    """

    latency_floor_s: float | None
    latency_p90_s: float | None
    latency_p99_s: float | None
    between_block_cv: float | None
    drift: float | None
    load_s: float | None
    first_run_s: float | None
    power_w: float | None
    idle_power_w: float | None
    peak_power_w: float | None
    lowest_bus_v: float | None
    sample_rate_hz: float | None
    largest_gap_s: float | None
    dropped: int | None
    clipped: int | None
    i2c_errors: int | None
    temperature_low_c: float | None
    temperature_high_c: float | None
    frequency_low_hz: float | None
    governors: tuple[str, ...]
    power_modes: tuple[str, ...]
    throttle_bits: int | None
    contention_high: float | None
    anchor_ratio_low: float | None
    anchor_ratio_high: float | None
    peak_rss_bytes: int | None
    voided: int
    retries: int
    boots: int
    agents: tuple[str, ...]
    runtimes: tuple[str, ...]
    protocol: int | None
    meter: Meter | None


def circumstances(jobs: Sequence[Job]) -> Circumstances:
    """jobs: at least one, of one candidate on one device."""
    usable = [job for job in jobs if job.usable]
    latencies = [job.latency for job in usable if job.latency]
    energies = [job.energy for job in usable if job.energy]
    conditions = [state for job in usable for state in (job.before, job.after)]
    temperatures = _known(state.temperature_c for state in conditions)
    ratios = _known(job.anchor_ratio for job in usable)
    bits = _known(state.throttle_bits for state in conditions)
    runtimes = [job.runtime for job in usable if job.runtime is not None]
    meters = [job.meter for job in usable if job.meter is not None]
    return Circumstances(
        latency_floor_s=_median(latency.floor_s for latency in latencies),
        latency_p90_s=_median(latency.p90_s for latency in latencies),
        latency_p99_s=_median(latency.p99_s for latency in latencies),
        between_block_cv=_median(latency.between_block_cv for latency in latencies),
        drift=max(_known(latency.drift for latency in latencies), key=abs, default=None),
        load_s=_median(job.load_s for job in usable),
        first_run_s=_median(job.first_run_s for job in usable),
        power_w=_median(energy.mean_power_w for energy in energies),
        idle_power_w=_median(energy.idle_power_w for energy in energies),
        peak_power_w=max((energy.peak_power_w for energy in energies), default=None),
        lowest_bus_v=min(_known(energy.lowest_bus_v for energy in energies), default=None),
        sample_rate_hz=_median(energy.rate_hz for energy in energies),
        largest_gap_s=max((energy.largest_gap_s for energy in energies), default=None),
        dropped=sum(energy.dropped for energy in energies) if energies else None,
        clipped=sum(energy.clipped for energy in energies) if energies else None,
        i2c_errors=sum(energy.i2c_errors for energy in energies) if energies else None,
        temperature_low_c=min(temperatures, default=None),
        temperature_high_c=max(temperatures, default=None),
        frequency_low_hz=min(_known(state.frequency_hz for state in conditions), default=None),
        governors=_names(state.governor for state in conditions),
        power_modes=_names(state.power_mode for state in conditions),
        throttle_bits=_any_bit(bits),
        contention_high=max(_known(state.contention for state in conditions), default=None),
        anchor_ratio_low=min(ratios, default=None),
        anchor_ratio_high=max(ratios, default=None),
        peak_rss_bytes=max(_known(job.peak_rss_bytes for job in usable), default=None),
        voided=sum(job.voided for job in usable),
        retries=len(jobs) - len(usable),
        boots=len({job.boot_id for job in usable}),
        agents=_names(job.agent_version for job in usable),
        runtimes=_names(f"{used.name} {used.version} {used.provider}" for used in runtimes),
        protocol=min((job.protocol for job in usable), default=None),
        meter=meters[-1] if meters else None,
    )


def _known(values: Iterable[Number | None]) -> list[Number]:
    return [value for value in values if value is not None]


def _median(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return median(known) if known else None


def _names(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value is not None))


def _any_bit(values: Sequence[int]) -> int | None:
    return reduce(or_, values) if values else None
