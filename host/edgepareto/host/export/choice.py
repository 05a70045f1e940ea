"""Choosing one point of a device's front, by what it is good at or by its id."""

from __future__ import annotations

from collections.abc import Sequence

from edgepareto.host.domain.device_front import DeviceFront, FrontPoint
from edgepareto.host.domain.front import Estimate, knee
from edgepareto.host.errors import WrongUse

__all__ = ["PICKS", "pick"]

PICKS = ("knee", "fastest", "most-accurate", "least-energy")


def pick(
    device_front: DeviceFront, choice: str, *, max_latency_ms: float | None = None, min_accuracy: float | None = None
) -> FrontPoint:
    """The chosen front member among those within the limits (validation accuracy), or a measured candidate by id.

    A knee under limits is the knee of what they leave. An id may be shortened while it is unique.
    Raises WrongUse: no such candidate, nothing within the limits, least-energy without a meter.
    """
    name = device_front.device.name
    if choice not in PICKS:
        return _by_id(device_front, choice)
    if not device_front.front:
        raise WrongUse(f"{name}: its front is empty; host front says why")
    members = [p for p in device_front.front if _within(p, max_latency_ms, min_accuracy)]
    if not members:
        limits = _limits_text(max_latency_ms, min_accuracy)
        reach = f"{_point_text(device_front.front[0])} to {_point_text(device_front.front[-1])}"
        raise WrongUse(f"{name}: no front member is within {limits}; the front reaches from {reach}")
    if choice == "fastest":
        return min(members, key=lambda p: p.measurement.latency_s.value)
    if choice == "most-accurate":
        return max(members, key=lambda p: (p.accuracy, -p.measurement.latency_s.value))
    if choice == "least-energy":
        return _least_energy(members, device_front)
    flagged = [p for p in members if p.is_knee]
    if len(members) == len(device_front.front) and flagged:
        return flagged[0]
    chosen = knee([_estimate(p, device_front) for p in members])
    return next(p for p in members if p.candidate.id == chosen.candidate)


def _by_id(device_front: DeviceFront, choice: str) -> FrontPoint:
    points = {p.candidate.id: p for p in (*device_front.front, *device_front.others, device_front.dense)}
    matching = [point for candidate, point in points.items() if candidate.startswith(choice)]
    if len(matching) == 1:
        return matching[0]
    problem = "fits several candidates" if matching else "is no candidate measured there"
    raise WrongUse(f"{device_front.device.name}: {choice} {problem}; choose {', '.join(PICKS)} or an id of host front")


def _least_energy(members: Sequence[FrontPoint], on: DeviceFront) -> FrontPoint:
    metered = [(energy.value, p) for p in members if (energy := on.energy(p)) is not None]
    if not metered:
        meter = "no meter" if on.device.meter is None else "a meter that failed"
        raise WrongUse(f"{on.device.name}: it has {meter}, so no energy is known; pick knee, fastest or most-accurate")
    return min(metered, key=lambda pair: pair[0])[1]


def _within(point: FrontPoint, max_latency_ms: float | None, min_accuracy: float | None) -> bool:
    fast_enough = max_latency_ms is None or point.measurement.latency_s.value * 1e3 <= max_latency_ms
    return fast_enough and (min_accuracy is None or point.accuracy >= min_accuracy)


def _estimate(point: FrontPoint, on: DeviceFront) -> Estimate:
    energy = on.energy(point)
    return Estimate(
        candidate=point.candidate.id,
        error=1 - point.accuracy,
        latency_s=point.measurement.latency_s.value,
        energy_j=None if energy is None else energy.value,
    )


def _limits_text(max_latency_ms: float | None, min_accuracy: float | None) -> str:
    limits = [
        None if max_latency_ms is None else f"{max_latency_ms:g} ms",
        None if min_accuracy is None else f"accuracy {min_accuracy:g}",
    ]
    return " and ".join(limit for limit in limits if limit)


def _point_text(point: FrontPoint) -> str:
    return f"{point.measurement.latency_s.value * 1e3:.3g} ms at {point.accuracy:.4f}"
