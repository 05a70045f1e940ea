"""Numbers as people read them: milliseconds, millijoules, percent, each with the digits its interval earns."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgepareto.host.domain.deployment import Deployment
from edgepareto.host.domain.device_front import DeviceFront, FrontPoint, Shrinkage, Sparing, StudyFronts
from edgepareto.host.domain.interval import Interval
from edgepareto.host.domain.measurement import EnergyObjective

__all__ = [
    "UNKNOWN",
    "board_accuracy_texts",
    "count_text",
    "deployment_text",
    "device_title",
    "energy_label",
    "energy_mj",
    "energy_saving",
    "energy_text",
    "estimate_text",
    "format_text",
    "latency_text",
    "metric_text",
    "no_meter_text",
    "percent",
    "points_text",
    "rate_text",
    "shrinkage_text",
    "size_text",
    "smaller_not_faster_text",
    "sparing_text",
    "speed_up",
    "study_title",
]

UNKNOWN = "–"
SHORT_RUNTIMES = {"onnxruntime": "ort", "onnxruntime-cuda": "cuda", "onnxruntime-tensorrt": "trt"}


def percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share * 100:.2f} %"


def latency_text(latency_s: Interval) -> str:
    return _with_interval(latency_s, 1e3, "ms")


def energy_text(energy_j: Interval | None) -> str:
    return UNKNOWN if energy_j is None else _with_interval(energy_j, 1e3, "mJ")


def speed_up(point: FrontPoint, dense: FrontPoint) -> float:
    return dense.measurement.latency_s.value / point.measurement.latency_s.value


def points_text(difference: Interval | None) -> str:
    """A difference of two shares in percentage points: -1.3 ±0.4."""
    if difference is None:
        return UNKNOWN
    value, half = difference.value * 100, difference.half_width * 100
    decimals = 1 if half >= 0.095 else 2
    return f"{value:+.{decimals}f} ±{half:.{decimals}f}"


def shrinkage_text(shrinkage: Shrinkage) -> str:
    """`measured again, 12 of the search's front: 1.2 % more time, 0.4 % less energy`."""
    parts = [f"{_change(shrinkage.latency)} time"]
    if shrinkage.energy is not None:
        parts.append(f"{_change(shrinkage.energy)} energy")
    return f"measured again, {shrinkage.candidates} of the search's front: {', '.join(parts)}"


def sparing_text(sparing: Sparing) -> str:
    """`scored and not measured: 27 below the minimum, 16 that even at their best would not be on the front; 3 more like
    these measured to check: 0 are on the front`."""
    parts = []
    if sparing.below:
        parts.append(f"{sparing.below} below the minimum")
    if sparing.candidates:
        parts.append(f"{sparing.candidates} that even at their best would not be on the front")
    text = f"scored and not measured: {', '.join(parts) or 'none'}"
    if not sparing.audited:
        return text
    verb = "is" if sparing.on_front == 1 else "are"
    return f"{text}; {sparing.audited} more like these measured to check: {sparing.on_front} {verb} on the front"


def _change(share: float) -> str:
    return f"{abs(share) * 100:.1f} % {'more' if share >= 0 else 'less'}"


def energy_saving(point: FrontPoint, device: DeviceFront) -> float | None:
    """The share of the dense model's energy (the objective's) that is saved; None where either is unknown."""
    mine, full = device.energy(point), device.energy(device.dense)
    return None if mine is None or full is None or full.value <= 0 else 1 - mine.value / full.value


def energy_mj(point: FrontPoint, objective: EnergyObjective) -> float | None:
    """For a logarithmic axis: None where it is unknown or not above 0."""
    energy = point.measurement.energy(objective)
    return None if energy is None or energy.value <= 0 else energy.value * 1e3


def energy_label(study: StudyFronts) -> str:
    """`energy per inference above idle (mJ, estimate)`."""
    objective = next((d.energy_objective for d in study.devices if d.has_energy), EnergyObjective.TOTAL)
    above = " above idle" if objective is EnergyObjective.DYNAMIC else ""
    estimate = ", some an estimate" if any(device.energy_is_estimate for device in study.devices) else ""
    return f"energy per inference{above} (mJ{estimate})"


def no_meter_text(front: DeviceFront) -> str:
    """Why energy is no objective on a device."""
    return "no meter" if front.device.meter is None else "the meter failed"


def estimate_text(front: DeviceFront) -> str | None:
    """The warning that belongs to an estimated energy; None for one that was measured."""
    meter = front.device.meter
    if meter is None or not front.energy_is_estimate:
        return None
    return f"ESTIMATE: {meter.kind} does not see all that the board draws; energy is rough"


def rate_text(rate: float) -> str:
    """Runs per second or per joule: 83.3, 1,570."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def size_text(size_bytes: int | None) -> str:
    if size_bytes is None:
        return UNKNOWN
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def count_text(count: int | None) -> str:
    if count is None:
        return UNKNOWN
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return str(count)


def metric_text(metric: str) -> str:
    return {"top1": "top-1 accuracy", "agreement": "agreement with the unpruned model"}.get(metric, metric)


def device_title(front: DeviceFront) -> str:
    """`pi1 · raspberry-pi-4b · simulated`, and what else a reader must not miss."""
    marks = ["simulated" if front.device.simulated else "", "" if front.complete else "INCOMPLETE"]
    return " · ".join([front.device.name, front.device.board, *(mark for mark in marks if mark)])


def study_title(study: StudyFronts) -> str:
    """`resnet.onnx: one front per device (simulated boards, quick preset)`."""
    simulated = [front.device.simulated for front in study.devices]
    marks = []
    if any(simulated):
        marks.append("simulated boards" if all(simulated) else "some boards simulated")
    if study.preset == "quick":
        marks.append("quick preset")
    return f"{study.model}: one front per device" + (f" ({', '.join(marks)})" if marks else "")


def smaller_not_faster_text(front: DeviceFront) -> str | None:
    """None where every candidate that does less is faster for it."""
    measured = {point.candidate.id: point for point in (front.dense, *front.front, *front.others)}
    found = sum(front.is_smaller_not_faster(point) for point in measured.values())
    if not found:
        return None
    return f"smaller but not faster: {found} of {len(measured)}; host profile --ops shows why"


def _with_interval(interval: Interval, scale: float, unit: str) -> str:
    """Cut where the interval makes digits worthless: its half width keeps one digit, two where the first is a 1."""
    value, half = interval.value * scale, interval.half_width * scale
    if half <= 0:
        return f"{value:.4g} {unit}"
    exponent = math.floor(math.log10(half))
    leads_with_one = half < 2 * 10.0**exponent
    decimals = max(0, leads_with_one - exponent)
    return f"{value:.{decimals}f} ± {half:.{decimals}f} {unit}"


def board_accuracy_texts(device: DeviceFront) -> Iterator[tuple[str, bool]]:
    """What scoring on the board itself said of the front, and whether it is a warning: a line for each member that
    differs by more than the luck of the samples, one for all that do not."""
    scored = [point.verified for point in device.front if point.verified is not None]
    alike = [one for one in scored if not one.failure and not one.differs]
    for one in scored:
        if one.failure:
            yield f"{one.candidate} fails on the board: {one.failure}", True
        elif one.differs:
            apart = f" ({points_text(one.difference)} points)" if one.difference is not None else ""
            yield (
                f"{one.candidate} scores {percent(one.on_board)} on the board and {percent(one.on_host)} on the host, "
                f"same file, same {one.samples} samples{apart}: the board's number is what you get",
                True,
            )
    if alike:
        yield f"{len(alike)} on the front scored on the board itself as on the host ({alike[0].samples} samples)", False


def format_text(point: FrontPoint) -> str:
    return " ".join(point.candidate.genome.deployment.format)


def deployment_text(way: Deployment, *, short: bool = False) -> str:
    """`litert int8 4T`: runtime, precision, threads, and the clock mode where one was set. short: in a narrow table."""
    runtime = SHORT_RUNTIMES.get(way.runtime, way.runtime) if short else way.runtime
    return " ".join(part for part in (runtime, way.precision, f"{way.threads}T", way.clock_mode) if part)
