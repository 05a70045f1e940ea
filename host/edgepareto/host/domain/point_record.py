"""The stable names under which a measured candidate is written to JSON, CSV and cards. What is unknown is absent."""

from __future__ import annotations

from edgepareto.host.domain.device_front import DeviceFront, FrontPoint

__all__ = ["PointRecord", "point_record"]

PointRecord = dict[str, str | float | int | bool]


def point_record(point: FrontPoint, on: DeviceFront, *, file: str | None = None, knee: bool = False) -> PointRecord:
    """One point, SI units. `accuracy` is the study's metric on the validation split."""
    candidate, measurement = point.candidate, point.measurement
    energy = measurement.energy_j
    fields: dict[str, str | float | int | bool | None] = {
        "candidate": candidate.id,
        "accuracy": candidate.accuracy,
        "test_accuracy": candidate.test_accuracy,
        "latency_s": measurement.latency_s.value,
        "latency_low_s": measurement.latency_s.low,
        "latency_high_s": measurement.latency_s.high,
        "energy_j": None if energy is None else energy.value,
        "energy_low_j": None if energy is None else energy.low,
        "energy_high_j": None if energy is None else energy.high,
        "macs": candidate.macs,
        "parameters": candidate.parameters,
        "bytes": candidate.bytes,
        "runtime": on.runtime,
        "precision": on.precision,
        "threads": on.threads,
        "preset": measurement.preset,
        "knee": knee,
        "simulated": measurement.simulated,
        "file": file,
    }
    return {name: value for name, value in fields.items() if value is not None}
