"""The stable names under which a measured candidate is written to JSON, CSV and cards. What is unknown is absent."""

from __future__ import annotations

from edgepareto.host.domain.device_front import DeviceFront, FrontPoint
from edgepareto.host.domain.interval import Interval
from edgepareto.host.domain.verified import Verified

__all__ = ["PointRecord", "point_record"]

PointRecord = dict[str, str | float | int | bool]


def point_record(point: FrontPoint, on: DeviceFront, *, file: str | None = None, knee: bool = False) -> PointRecord:
    """One point, SI units. `accuracy` is the study's metric on the validation split."""
    candidate, measurement = point.candidate, point.measurement
    way = on.deployment(point)
    is_dense = candidate.id == on.dense.candidate.id
    fields: dict[str, str | float | int | bool | None] = {
        "candidate": candidate.id,
        "accuracy": candidate.accuracy,
        **_interval("accuracy_difference{}", None if is_dense else on.accuracy_difference(point)),
        "test_accuracy": candidate.test_accuracy,
        **_interval("test_accuracy_difference{}", None if is_dense else on.test_accuracy_difference(point)),
        "divergence": candidate.divergence,
        "distil_steps": candidate.recipe.distil_steps or None,
        **_on_board(point.verified),
        **_interval("latency{}_s", measurement.latency_s),
        **_interval("energy{}_j", measurement.energy_j),
        "energy_systematic_j": measurement.energy_systematic_j,
        **_interval("dynamic_energy{}_j", measurement.dynamic_energy_j),
        "reproducible": measurement.reproducible,
        "macs": candidate.macs,
        "parameters": candidate.parameters,
        "dropped_branches": ", ".join(candidate.genome.dropped) or None,
        "bytes": candidate.bytes,
        "output_error": candidate.output_error,
        "runtime": way.runtime,
        "precision": way.precision,
        "threads": way.threads,
        "clock_mode": way.clock_mode or None,
        "preset": measurement.preset,
        "knee": knee,
        "smaller_not_faster": on.is_smaller_not_faster(point) or None,
        "simulated": measurement.simulated,
        "file": file,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _on_board(found: Verified | None) -> dict[str, float | int | None]:
    if found is None or found.on_board is None:
        return {}
    return {
        "board_accuracy": found.on_board,
        **_interval("board_accuracy_difference{}", found.difference),
        "board_samples": found.samples,
    }


def _interval(name: str, interval: Interval | None) -> dict[str, float]:
    """name: with {} where _low and _high go."""
    if interval is None:
        return {}
    ends = (("", interval.value), ("_low", interval.low), ("_high", interval.high))
    return {name.format(end): value for end, value in ends}
