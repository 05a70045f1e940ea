"""The fronts in a terminal: a table per device, how it was measured, and warnings where they cannot be missed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepareto.host.domain.device_front import DeviceFront, FrontPoint, StudyFronts
from edgepareto.host.domain.measurement import FEWEST_ANCHOR_JOBS, EnergyObjective
from edgepareto.host.views.figures import (
    UNKNOWN,
    board_accuracy_texts,
    count_text,
    deployment_text,
    device_title,
    energy_saving,
    energy_text,
    estimate_text,
    latency_text,
    no_meter_text,
    percent,
    points_text,
    rate_text,
    shrinkage_text,
    size_text,
    smaller_not_faster_text,
    sparing_text,
    speed_up,
)
from edgepareto.host.views.fitting import Fitting
from edgepareto.host.views.incidents_text import incidents_text
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["front_tables"]

NOT_FASTER = "▽"
RUN_AS = "run as"  # words, which go on in a second line where there is no room, before any number is cut
DISTURBANCES = frozenset({"CONTENDED", "ANCHOR_DRIFT"})
WIDE, MEDIUM = 144, 110  # columns of a terminal for every number; with room between them
LEAST_IMPORTANT = ("test %", "saved", "vs dense", "faster")  # headings of a narrow table, the first to go first


def front_tables(study: StudyFronts, *, width: int = WIDE) -> Iterator[RenderableType]:
    """One table per device and the lines under it, in the study's order; whole in 60 columns, with more in WIDE."""
    for device in study.devices:
        narrow = min(width, MEDIUM - 1)
        fewer = [LEAST_IMPORTANT[:count] for count in range(len(LEAST_IMPORTANT) + 1)]
        layouts = [_table(study, device, width), *(_table(study, device, narrow, without) for without in fewer)]
        yield Fitting(layouts)
        yield from _notes(study, device)


def _table(study: StudyFronts, device: DeviceFront, width: int, without: Sequence[str] = ()) -> Table:
    narrow = width < MEDIUM
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
    headings = _headings(study, device, width)
    shown = [place for place, heading in enumerate(headings) if heading not in without]
    for heading in (headings[place] for place in shown):
        table.add_column(heading, justify="right", no_wrap=heading != RUN_AS)
    members = {point.candidate.id for point in device.front}
    knee = "◆" if narrow else "◆ knee"
    dense = "" if narrow and _is_paired(device) else "dense"  # that column says it
    if device.dense.candidate.id not in members:
        every = _cells(study, device, device.dense, width)
        cells = [every[place] for place in shown]
        table.add_row(device.dense.candidate.id, dense, *cells, style="dim", end_section=bool(device.front))
    for point in device.front:
        names = [
            dense if point.candidate.id == device.dense.candidate.id else "",
            knee if point.is_knee else "",
            NOT_FASTER if device.is_smaller_not_faster(point) else "",
        ]
        mark = " ".join(name for name in names if name)
        every = _cells(study, device, point, width)
        cells = [every[place] for place in shown]
        table.add_row(point.candidate.id, mark, *cells, style="bold green" if point.is_knee else None)
    return table


def _headings(study: StudyFronts, device: DeviceFront, width: int) -> list[str]:
    """Without room the units stand here and not in every cell."""
    wide, narrow = width >= WIDE, width < MEDIUM
    metric = {"top1": "top-1"}.get(study.metric, study.metric.rpartition(":")[2])
    energy = "dynamic" if device.energy_objective is EnergyObjective.DYNAMIC else "energy"
    if device.energy_is_estimate:
        energy = f"{energy[:3]}. est." if narrow else f"{energy} (estimate)"
    metered = [f"{energy} mJ" if narrow else energy, *(["per J"] if wide else []), "saved"]
    return [
        *([RUN_AS] if device.varies_deployments else []),
        f"{metric} %" if narrow else metric,
        *(["vs dense"] if _is_paired(device) else []),
        *(["test %" if narrow else "on test"] if study.has_test_split else []),
        "latency ms" if narrow else "latency",
        *(["per s"] if wide else []),
        "faster",
        *(metered if device.has_energy else []),
        *(["MACs", "file"] if wide else []),
    ]


def _cells(study: StudyFronts, device: DeviceFront, point: FrontPoint, width: int) -> list[str]:
    """In the order of `_headings`."""
    wide, narrow = width >= WIDE, width < MEDIUM
    measurement, candidate = point.measurement, point.candidate
    is_dense = candidate.id == device.dense.candidate.id

    def cell(text: str, unit: str) -> str:
        return text.removesuffix(f" {unit}") if narrow else text

    way = deployment_text(device.deployment(point), short=narrow)
    cells = [*([way] if device.varies_deployments else []), cell(percent(candidate.accuracy), "%")]
    if _is_paired(device):
        to_dense = points_text(device.accuracy_difference(point))
        cells.append(to_dense if not is_dense else "dense" if narrow else "")
    if study.has_test_split:
        cells.append(cell(percent(candidate.test_accuracy), "%"))
    cells.append(cell(latency_text(measurement.latency_s), "ms"))
    if wide:
        cells.append(rate_text(1 / measurement.latency_s.value))
    cells.append(f"{speed_up(point, device.dense):.2f}×")
    if device.has_energy:
        energy, saving = device.energy(point), energy_saving(point, device)
        cells.append(cell(energy_text(energy), "mJ"))
        if wide:
            cells.append(UNKNOWN if energy is None or energy.value <= 0 else rate_text(1 / energy.value))
        cells.append(UNKNOWN if saving is None else f"{saving * 100:.0f} %")
    if wide:
        cells += [count_text(candidate.macs), size_text(candidate.bytes)]
    return cells


def _is_paired(device: DeviceFront) -> bool:
    """Whether the metric counts samples, so that differences to the dense model are known on the same ones."""
    return device.dense.candidate.validation_hits is not None


def _notes(study: StudyFronts, device: DeviceFront) -> Iterator[Text]:
    """Lines of at most 78 columns where no name is long."""
    usual = device.deployment(device.dense)
    plural = "" if usual.threads == 1 else "s"
    limits = device.limits
    yield _dim(
        f"{device.measured} candidates measured, {len(device.front)} on the front; hypervolume {device.hypervolume:.4f}"
    )
    of_dense = "dense: " if device.varies_deployments else ""
    way = ", ".join(
        [usual.runtime, usual.precision, f"{usual.threads} thread{plural}", *filter(None, [usual.clock_mode])]
    )
    yield _dim(f"{of_dense}{way}, batch 1, preset {study.preset}")
    trust = f"reproducible ({limits.anchor_jobs} jobs of the dense model)" if limits.reproducible else "provisional"
    yield _dim(f"◆ is the knee, ± the 95 % interval, {trust}")
    if limits.reproducible:
        apart = f"two measurements differ by up to {limits.latency * 100:.1f} % in latency"
        yield _dim(f"{apart}, {limits.energy * 100:.1f} % in energy" if device.has_energy else apart)
    if _is_paired(device):
        yield _dim("vs dense: percentage points, on the same samples")
    for point in device.front:
        if point.candidate.genome.dropped:
            yield _dim(f"{point.candidate.id} is without {', '.join(point.candidate.genome.dropped)}")
    if device.shrinkage is not None:
        yield _dim(shrinkage_text(device.shrinkage))
    if device.sparing is not None:
        yield _dim(sparing_text(device.sparing))
    if text := smaller_not_faster_text(device):
        yield _dim(f"{NOT_FASTER} {text}")
    for line, is_warning in board_accuracy_texts(device):
        yield Text(f"  ! {line}", style="bold yellow") if is_warning else _dim(line)
    if device.incidents:
        yield _dim(incidents_text(device.incidents))
    for warning in _warnings(study, device):
        yield Text(f"  ! {warning}", style="bold yellow")
    yield Text("")


def _dim(text: str) -> Text:
    return Text(f"  {text}", style="dim")


def _warnings(study: StudyFronts, device: DeviceFront) -> Iterator[str]:
    if device.device.simulated:
        note = f" ({device.device.profile_note})" if device.device.profile_note else ""
        yield f"SIMULATED: no board was measured, a model of {device.device.board} gave these numbers{note}"
    if study.preset == "quick":
        yield "QUICK preset: few, short measurements; measure again with --preset standard before you rely on them"
    if not device.limits.reproducible:
        few = f"the dense model was measured {device.limits.anchor_jobs} times, wanted {FEWEST_ANCHOR_JOBS}"
        yield f"PROVISIONAL: {few}; how far two measurements differ is not known well"
    if text := estimate_text(device):
        yield text
    disturbed = sorted(frozenset().union(*(p.measurement.tags for p in (device.dense, *device.front))) & DISTURBANCES)
    if disturbed:
        yield f"DISTURBED ({', '.join(disturbed)}): other work ran on this device; its intervals are wider for it"
    if not device.complete:
        yield f"INCOMPLETE: {device.incomplete_reason or 'the search was stopped; go on with host search --resume'}"
    if not device.has_energy:
        yield f"{no_meter_text(device)}: energy is unknown on this device and was no objective"
    if not device.front:
        yield "the front is empty"
    yield from device.notes
