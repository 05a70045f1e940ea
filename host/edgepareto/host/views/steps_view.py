"""What a step probe found: a table and a picture of the stairs in a terminal, JSON for programs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edgepareto.host.domain.learned_steps import DEFAULT_STEP, KernelKind, KindProbe, LearnedSteps
from edgepareto.host.domain.staircase import REFERENCE_WIDTH
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["KIND_NAMES", "ProbedSteps", "medians_by_width", "steps_json", "steps_tables"]

SCHEMA = 1
BARS = "▁▂▃▄▅▆▇█"
KIND_NAMES = {
    KernelKind.CONV_3X3: "3x3 convolution",
    KernelKind.POINTWISE: "1x1 convolution",
    KernelKind.DEPTHWISE: "3x3 depthwise",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedSteps:
    """A device's probe and where it was stored. set_step: what its settings name, which wins; None: nothing."""

    learned: LearnedSteps
    file: Path
    set_step: int | None


def steps_json(probed: Sequence[ProbedSteps]) -> str:
    return json.dumps({"schema": SCHEMA, "devices": [_device_record(device) for device in probed]}, indent=2)


def steps_tables(probed: Sequence[ProbedSteps]) -> Iterator[RenderableType]:
    for device in probed:
        yield _table(device.learned)
        yield from _notes(device)


def medians_by_width(probe: KindProbe) -> list[tuple[int, float]]:
    """(channels, seconds) over the jobs of each width, ascending."""
    jobs: dict[int, list[float]] = defaultdict(list)
    for width, latency_s in zip(probe.widths, probe.latencies_s, strict=True):
        jobs[width].append(latency_s)
    return [(width, median(jobs[width])) for width in sorted(jobs)]


def _table(learned: LearnedSteps) -> Table:
    mark = " · simulated" if learned.simulated else ""
    threads = f"{learned.threads} thread{'' if learned.threads == 1 else 's'}"
    title = f"{learned.device} · {learned.board}{mark} · {learned.runtime} {learned.runtime_version}, {threads}"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("kernel", "step", "sure"):
        table.add_column(heading, no_wrap=True)
    for heading in (f"{REFERENCE_WIDTH}→{REFERENCE_WIDTH + 1} channels", "noise"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("latency over channels", no_wrap=True)
    for probe in learned.probes:
        found = probe.staircase
        sure = "yes" if found.is_sure else f"no: or {', '.join(map(str, found.rivals))}"
        jump = f"+{found.jump * 100:.1f} %" if found.step > 1 else "no step"
        row = (KIND_NAMES[probe.kind], str(found.step), sure, jump, f"{found.noise * 100:.1f} %", _picture(probe))
        table.add_row(*row, style=None if found.is_sure else "yellow")
    return table


def _picture(probe: KindProbe) -> str:
    """One bar per measured width, ascending, the lowest and the highest latency being the shortest and the longest."""
    latencies_s = [latency_s for _, latency_s in medians_by_width(probe)]
    low, high = min(latencies_s), max(latencies_s)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((latency_s - low) * scale)] for latency_s in latencies_s)


def _notes(device: ProbedSteps) -> Iterator[Text]:
    learned = device.learned
    widths = [width for width, _ in medians_by_width(learned.probes[0])]
    yield Text(f"  bars: {', '.join(map(str, widths))} channels; preset {learned.preset}; {device.file}", style="dim")
    yield Text(f"  {_use(device)}")
    if any(not probe.staircase.is_sure for probe in learned.probes):
        yield Text(
            f"  ! not sure: the latencies do not tell steps apart here; the default {DEFAULT_STEP} stays for these "
            "kernels. A quieter machine or --preset standard may",
            style="bold yellow",
        )
    if learned.simulated:
        yield Text(
            f"  ! SIMULATED: no board was measured, these are the steps of a model of {learned.board}", "bold yellow"
        )
    yield Text("")


def _use(device: ProbedSteps) -> str:
    name = device.learned.device
    if device.set_step is not None:
        return f"host search --devices {name}: step = {device.set_step} under [devices.{name}] wins over this"
    sure = device.learned.sure
    parts = [f"{KIND_NAMES[kind]} {_multiples(sure.get(kind))}" for kind in KernelKind]
    return f"host search --devices {name} keeps channels as: {', '.join(parts)}"


def _multiples(step: int | None) -> str:
    if step is None:
        return f"multiples of {DEFAULT_STEP} (default)"
    return "any number" if step == 1 else f"multiples of {step}"


def _device_record(device: ProbedSteps) -> dict[str, object]:
    learned = device.learned
    record: dict[str, object | None] = {
        "name": learned.device,
        "board": learned.board,
        "board_id": learned.board_id,
        "simulated": learned.simulated,
        "runtime": learned.runtime,
        "runtime_version": learned.runtime_version,
        "threads": learned.threads,
        "preset": learned.preset,
        "measured_at": learned.measured_at,
        "file": str(device.file),
        "set_step": device.set_step,
        "kernels": [_probe_record(probe, device) for probe in learned.probes],
    }
    return {name: value for name, value in record.items() if value is not None}


def _probe_record(probe: KindProbe, device: ProbedSteps) -> dict[str, object]:
    found = probe.staircase
    return {
        "kind": probe.kind.value,
        "step": found.step,
        "sure": found.is_sure,
        "rivals": list(found.rivals),
        "used_step": device.set_step or device.learned.sure.get(probe.kind, DEFAULT_STEP),
        "jump": found.jump,
        "noise": found.noise,
        "widths": list(probe.widths),
        "latencies_s": list(probe.latencies_s),
    }
