"""One job's numbers and conditions under their stable JSON names. SI units; what is not known is left out."""

from __future__ import annotations

from dataclasses import fields

from edgepareto.host.domain.job import Job, JobEnergy, JobLatency
from edgepareto.host.domain.trace import Conditions

__all__ = ["JobRecord", "job_record"]

JobRecord = dict[str, object]


def job_record(job: Job) -> JobRecord:
    """All that was measured, and under what."""
    meter = job.meter
    record: dict[str, object | None] = {
        "build_s": job.build_s,
        "load_s": job.load_s,
        "first_run_s": job.first_run_s,
        "output_error": job.output_error,
        "peak_rss_bytes": job.peak_rss_bytes,
        "anchor_ratio": job.anchor_ratio,
        "voided": job.voided or None,
        "board_id": job.board_id,
        "boot_id": job.boot_id,
        "agent_version": job.agent_version,
        "protocol": job.protocol,
        "model_sha256": job.model_sha256,
        "before": _conditions(job.before),
        "after": _conditions(job.after),
        "meter": None if meter is None else {f.name: _plain(getattr(meter, f.name)) for f in fields(meter)},
    }
    if job.latency is not None:
        record |= _latency(job.latency)
    if job.energy is not None:
        record |= _energy(job.energy)
    return _known(record)


def _latency(latency: JobLatency) -> dict[str, object | None]:
    return {
        "latency_s": latency.median_s.value,
        "latency_low_s": latency.median_s.low,
        "latency_high_s": latency.median_s.high,
        "latency_floor_s": latency.floor_s,
        "latency_p90_s": latency.p90_s,
        "latency_p99_s": latency.p99_s,
        "latency_mean_s": latency.mean_s,
        "latency_minimum_s": latency.minimum_s,
        "runs": latency.runs,
        "blocks": latency.blocks,
        "block_medians_s": list(latency.block_medians_s),
        "between_block_cv": latency.between_block_cv,
        "drift": latency.drift,
    }


def _energy(energy: JobEnergy) -> dict[str, object | None]:
    above_idle = energy.dynamic_j
    return {
        "energy_j": energy.total_j.value,
        "energy_low_j": energy.total_j.low,
        "energy_high_j": energy.total_j.high,
        "energy_systematic_j": energy.systematic_j,
        "dynamic_energy_j": None if above_idle is None else above_idle.value,
        "dynamic_energy_low_j": None if above_idle is None else above_idle.low,
        "dynamic_energy_high_j": None if above_idle is None else above_idle.high,
        "power_w": energy.mean_power_w,
        "idle_power_w": energy.idle_power_w,
        "peak_power_w": energy.peak_power_w,
        "lowest_bus_v": energy.lowest_bus_v,
        "means_bias_w": energy.means_bias_w,
        "latency_in_windows_s": energy.latency_s,
        "windows": energy.windows,
        "samples": energy.samples,
        "sample_rate_hz": energy.rate_hz,
        "largest_gap_s": energy.largest_gap_s,
        "dropped": energy.dropped,
        "clipped": energy.clipped,
        "i2c_errors": energy.i2c_errors,
    }


def _conditions(conditions: Conditions) -> JobRecord | None:
    told = _known({f.name: getattr(conditions, f.name) for f in fields(conditions) if f.name != "time_in_state"})
    if conditions.time_in_state:
        told["time_in_state_s"] = [
            {"frequency_hz": hz, "seconds": milliseconds * 1e-3} for hz, milliseconds in conditions.time_in_state
        ]
    return told or None


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _known(record: dict[str, object | None]) -> JobRecord:
    """Nested ones too: the meter's own unknown fields."""
    return {
        name: _known(value) if isinstance(value, dict) else value
        for name, value in record.items()
        if value is not None and value != []
    }
