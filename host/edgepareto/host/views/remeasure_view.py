"""Old and new numbers side by side, and whether what was said before held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepareto.host.domain.device_front import DeviceFront
from edgepareto.host.domain.interval import Interval
from edgepareto.host.domain.measurement import EnergyObjective
from edgepareto.host.domain.remeasured import Remeasured, RemeasuredDevice
from edgepareto.host.views.figures import UNKNOWN, device_title, energy_text, estimate_text, latency_text
from edgepareto.host.views.fitting import Fitting
from edgepareto.host.views.incidents_text import incidents_text
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["remeasured_tables"]


def remeasured_tables(devices: Sequence[RemeasuredDevice]) -> Iterator[RenderableType]:
    """One table per device, whole in 60 columns, and the lines under it."""
    for device in devices:
        yield Fitting([_table(device), _table(device, narrow=True), _table(device, narrow=True, pooled=False)])
        yield from _notes(device)


def _table(device: RemeasuredDevice, *, narrow: bool = False, pooled: bool = True) -> Table:
    table = Table(
        title=device_title(device.after),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0 if narrow else (0, 1),
    )
    before = "before" if narrow else "shown before"
    for heading in ("candidate", "", before, "again", *(["pooled"] if pooled else []), "held"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("candidate", "") else "right")
    for one in device.candidates:
        failed = None if one.again is not None else Text("failed", style="bold yellow")
        rows: list[tuple[str, str, str, str, bool | None]] = [
            (
                "ms",
                _bare(latency_text(one.before.latency_s)),
                UNKNOWN if one.again is None else _bare(latency_text(one.again.latency_s)),
                _bare(latency_text(one.after.latency_s)),
                one.latency_held,
            )
        ]
        energies = [one.energy(of) for of in (one.before, one.again, one.after)]
        if energies[0] is not None or energies[2] is not None:
            before_mj, again_mj, after_mj = map(_energy, energies)
            rows.append((_energy_unit(device.after), before_mj, again_mj, after_mj, one.energy_held))
        for place, (unit, shown, now, after, held) in enumerate(rows):
            name = one.candidate if place == 0 else ""
            numbers = (shown, now, after) if pooled else (shown, now)
            table.add_row(name, unit, *numbers, failed or _verdict(held), end_section=place == len(rows) - 1)
    return table


def _energy_unit(front: DeviceFront) -> str:
    return "mJ est." if front.energy_is_estimate else "mJ"


def _energy(energy_j: Interval | None) -> str:
    return _bare(energy_text(energy_j))


def _bare(text: str) -> str:
    """The unit stands in a column of its own."""
    return text.removesuffix(" ms").removesuffix(" mJ")


def _verdict(held: bool | None) -> Text:
    if held is None:
        return Text(UNKNOWN)
    return Text("yes", style="green") if held else Text("NO", style="bold yellow")


def _notes(device: RemeasuredDevice) -> Iterator[Text]:
    verdicts = [v for one in device.candidates for v in (one.latency_held, one.energy_held) if v is not None]
    measured = [one for one in device.candidates if one.again is not None]
    presets = ", ".join(dict.fromkeys(one.again.preset for one in measured if one.again is not None))
    yield Text(f"  {sum(verdicts)} of {len(verdicts)} intervals held; preset {presets or UNKNOWN}", style="dim")
    yield Text("  held: the two results differ by no more than their intervals allow", style="dim")
    if device.after.has_energy and device.after.energy_objective is EnergyObjective.DYNAMIC:
        yield Text("  mJ: energy per inference above idle, which the search minimised", style="dim")
    yield Text(f"  {_front_change(device.before, device.after)}", style="dim")
    for one in device.candidates:
        yield from _failure(one)
    if new := device.after.incidents[len(device.before.incidents) :]:
        yield Text(f"  {incidents_text(new)}", style="dim")
    if device.lost is not None:
        yield Text(f"  ! INCOMPLETE: {device.lost}", style="bold yellow")
    if text := estimate_text(device.after):
        yield Text(f"  ! {text}", style="bold yellow")
    if device.after.device.simulated:
        yield Text("  ! SIMULATED: no board was measured", style="bold yellow")
    yield Text("")


def _failure(one: Remeasured) -> Iterator[Text]:
    if one.again is None:
        yield Text(f"  ! {one.candidate}: {one.message}", style="bold yellow")


def _front_change(before: DeviceFront, after: DeviceFront) -> str:
    old, new = ({point.candidate.id: None for point in front.front} for front in (before, after))
    joined, left = [name for name in new if name not in old], [name for name in old if name not in new]
    if not joined and not left:
        return f"the front keeps its {_members(len(new))}"
    parts = [f"{', '.join(names)} {verb}" for names, verb in ((joined, "joined"), (left, "left")) if names]
    return f"the front had {_members(len(old))} and has {len(new)}: {'; '.join(parts)}"


def _members(count: int) -> str:
    return f"{count} member{'' if count == 1 else 's'}"
