"""The fronts in a terminal: a table per device, how it was measured, and warnings where they cannot be missed."""

from __future__ import annotations

from collections.abc import Iterator

from edgepareto.host.domain.device_front import DeviceFront, FrontPoint, StudyFronts
from edgepareto.host.views.figures import (
    UNKNOWN,
    count_text,
    device_title,
    energy_saving,
    energy_text,
    latency_text,
    percent,
    rate_text,
    size_text,
    speed_up,
)
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["front_tables"]

DISTURBANCES = frozenset({"CONTENDED", "ANCHOR_DRIFT"})
FEWEST_REPEATS = 2  # degrees of freedom behind the limits; with fewer they say next to nothing
WIDE, MEDIUM = 144, 110  # columns of a terminal for every number; with room between them


def front_tables(study: StudyFronts, *, width: int = WIDE) -> Iterator[RenderableType]:
    """One table per device and the lines under it, in the study's order; whole in 80 columns, with more in WIDE."""
    for device in study.devices:
        yield _table(study, device, width)
        yield from _notes(study, device)


def _table(study: StudyFronts, device: DeviceFront, width: int) -> Table:
    wide, narrow = width >= WIDE, width < MEDIUM
    table = Table(
        title=device_title(device),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=0 if narrow else (0, 1),
        show_edge=False,
    )
    table.add_column("candidate", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in _headings(study, device, wide=wide):
        table.add_column(heading, justify="right", no_wrap=True)
    members = {point.candidate.id for point in device.front}
    knee = "◆" if narrow else "◆ knee"
    if device.dense.candidate.id not in members:
        cells = _cells(study, device, device.dense, wide=wide)
        table.add_row(device.dense.candidate.id, "dense", *cells, style="dim", end_section=bool(device.front))
    for point in device.front:
        names = ["dense" if point.candidate.id == device.dense.candidate.id else "", knee if point.is_knee else ""]
        mark = " ".join(name for name in names if name)
        cells = _cells(study, device, point, wide=wide)
        table.add_row(point.candidate.id, mark, *cells, style="bold green" if point.is_knee else None)
    return table


def _headings(study: StudyFronts, device: DeviceFront, *, wide: bool) -> list[str]:
    metric = {"top1": "top-1"}.get(study.metric, study.metric.rpartition(":")[2])
    energy = ["energy", *(["per J"] if wide else []), "saved"] if device.has_energy else []
    return [
        metric,
        *(["on test"] if study.has_test_split else []),
        "latency",
        *(["per s"] if wide else []),
        "faster",
        *energy,
        *(["MACs", "file"] if wide else []),
    ]


def _cells(study: StudyFronts, device: DeviceFront, point: FrontPoint, *, wide: bool) -> list[str]:
    """In the order of `_headings`."""
    measurement, candidate = point.measurement, point.candidate
    cells = [percent(candidate.accuracy)]
    if study.has_test_split:
        cells.append(percent(candidate.test_accuracy))
    cells.append(latency_text(measurement.latency_s))
    if wide:
        cells.append(rate_text(1 / measurement.latency_s.value))
    cells.append(f"{speed_up(point, device.dense):.2f}×")
    if device.has_energy:
        energy, saving = measurement.energy_j, energy_saving(point, device.dense)
        cells.append(energy_text(energy))
        if wide:
            cells.append(UNKNOWN if energy is None else rate_text(1 / energy.value))
        cells.append(UNKNOWN if saving is None else f"{saving * 100:.0f} %")
    if wide:
        cells += [count_text(candidate.macs), size_text(candidate.bytes)]
    return cells


def _notes(study: StudyFronts, device: DeviceFront) -> Iterator[Text]:
    plural = "" if device.threads == 1 else "s"
    repeatable = f"two measurements differ by up to {device.limits.latency * 100:.1f} % in latency"
    if device.has_energy:
        repeatable += f", {device.limits.energy * 100:.1f} % in energy"
    if device.limits.repeats < FEWEST_REPEATS:
        repeatable = "how far two measurements differ is not known"
    setting = f"{device.runtime}, {device.precision}, {device.threads} thread{plural}, batch 1, preset {study.preset}"
    yield Text(f"  {device.measured} candidates measured, {len(device.front)} on the front; {setting}", style="dim")
    hypervolume = f"hypervolume {device.hypervolume:.4f}"
    yield Text(f"  ◆ is the knee, ± the 95 % interval; {repeatable}; {hypervolume}", style="dim")
    for warning in _warnings(study, device):
        yield Text(f"  ! {warning}", style="bold yellow")
    yield Text("")


def _warnings(study: StudyFronts, device: DeviceFront) -> Iterator[str]:
    if device.device.simulated:
        note = f" ({device.device.profile_note})" if device.device.profile_note else ""
        yield f"SIMULATED: no board was measured, a model of {device.device.board} gave these numbers{note}"
    if study.preset == "quick":
        yield "QUICK preset: few, short measurements; measure again with --preset standard before you rely on them"
    if device.limits.repeats < FEWEST_REPEATS:
        few = f"too few repeats of the dense model ({device.limits.repeats}, wanted {FEWEST_REPEATS})"
        yield f"PROVISIONAL: {few}; the intervals are too narrow"
    disturbed = sorted(frozenset().union(*(p.measurement.tags for p in (device.dense, *device.front))) & DISTURBANCES)
    if disturbed:
        yield f"DISTURBED ({', '.join(disturbed)}): other work ran on this device; its intervals are wider for it"
    if not device.complete:
        yield f"INCOMPLETE: {device.incomplete_reason or 'the search was stopped; go on with host search --resume'}"
    if not device.has_energy:
        yield "no meter: energy is unknown on this device and was no objective"
    if not device.front:
        yield "the front is empty: no candidate was within the limits"
    yield from device.notes
