"""All fronts in one HTML page that needs nothing else: no server, no network. Every point tells its numbers."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.domain.device_front import DeviceFront, FrontPoint, StudyFronts
from edgepareto.host.domain.measurement import EnergyObjective
from edgepareto.host.views.figures import (
    board_accuracy_texts,
    count_text,
    deployment_text,
    device_title,
    energy_label,
    energy_mj,
    energy_saving,
    energy_text,
    format_text,
    latency_text,
    metric_text,
    no_meter_text,
    percent,
    points_text,
    shrinkage_text,
    size_text,
    smaller_not_faster_text,
    sparing_text,
    speed_up,
    study_title,
)
from edgepareto.host.views.front_plot import accuracy_window, envelope, formats_of
from edgepareto.host.views.incidents_text import incidents_text
from edgepareto.host.views.palette import DENSE, FRONT, GRID, INK, KNEE, OTHERS, QUIET_INK, format_style

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["hover_text", "write_report"]

Cost = Callable[[FrontPoint], float | None]
ROW_PIXELS = 430
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font-family: system-ui, sans-serif; color: {ink}; margin: 24px auto; max-width: 1500px; padding: 0 16px }}
h1 {{ font-size: 1.4rem; margin: 0 0 4px }}
p {{ color: {quiet}; margin: 2px 0 }}
.loud {{ color: {loud}; font-weight: 600 }}
</style></head><body><h1>{title}</h1>
{lines}
{figure}
</body></html>
"""


def write_report(study: StudyFronts, path: Path) -> None:
    """Write the page, about 5 MB, because it carries the plotting library. Accuracies are those on validation."""
    title = html.escape(study_title(study))
    lines = "\n".join(_line(text, loud=loud) for text, loud in _lines(study))
    figure = _figure(study).to_html(full_html=False, include_plotlyjs=True, div_id="fronts")
    page = PAGE.format(title=title, ink=INK, quiet=QUIET_INK, loud=KNEE, lines=lines, figure=figure)
    path.write_text(page, encoding="utf-8")


def _line(text: str, *, loud: bool) -> str:
    return f"<p{' class=loud' if loud else ''}>{html.escape(text)}</p>"


def _lines(study: StudyFronts) -> list[tuple[str, bool]]:
    lines = [(f"{metric_text(study.metric)}, {study.algorithm}, preset {study.preset}; ± is the 95 % interval", False)]
    if study.preset == "quick":
        lines.append(("quick preset: few, short measurements", True))
    for device in study.devices:
        name = device.device.name
        lines.append((f"{name}: {device.measured} candidates measured, {len(device.front)} on the front", False))
        if device.device.simulated:
            lines.append((f"{name}: simulated, no board was measured", True))
        if not device.complete:
            lines.append((f"{name}: incomplete, {device.incomplete_reason or 'the search was stopped'}", True))
        if not device.has_energy:
            lines.append((f"{name}: {no_meter_text(device)}, energy is unknown", True))
        if device.energy_is_estimate:
            lines.append((f"{name}: energy is an estimate", True))
        if not device.limits.reproducible:
            lines.append((f"{name}: provisional, the dense model was measured too seldom", True))
        if device.shrinkage is not None:
            lines.append((f"{name}: {shrinkage_text(device.shrinkage)}", False))
        if device.sparing is not None:
            lines.append((f"{name}: {sparing_text(device.sparing)}", False))
        if text := smaller_not_faster_text(device):
            lines.append((f"{name}: {text}", False))
        lines += [(f"{name}: {line}", is_warning) for line, is_warning in board_accuracy_texts(device)]
        if device.incidents:
            lines.append((f"{name}: {incidents_text(device.incidents)}", False))
        lines += [(f"{name}: {note}", True) for note in device.notes]
    return lines


def _figure(study: StudyFronts) -> go.Figure:
    from plotly.subplots import make_subplots

    costs: list[tuple[str, Cost]] = [("latency (ms)", _latency_ms)]
    metered = [device for device in study.devices if device.has_energy]
    if metered:
        objective = metered[0].energy_objective  # the study's, so every device's
        costs.append((f"{energy_label(study)}", lambda point: energy_mj(point, objective)))
    figure = make_subplots(
        rows=len(costs),
        cols=len(study.devices),
        shared_yaxes=True,
        horizontal_spacing=0.05,
        vertical_spacing=0.14,
        column_titles=[html.escape(device_title(device)) for device in study.devices],
    )
    low, high = accuracy_window(study)
    for column, device in enumerate(study.devices, start=1):
        for row, (label, cost) in enumerate(costs, start=1):
            for trace in _traces(study, device, cost, in_legend=column == row == 1):
                figure.add_trace(trace, row=row, col=column)
            figure.update_xaxes(
                type="log", title_text=label, gridcolor=GRID, row=row, col=column, **_ticks(device, cost)
            )
    figure.update_yaxes(range=[low * 100, high * 100], gridcolor=GRID, zeroline=False, ticksuffix=" %")
    figure.update_yaxes(title_text=f"{metric_text(study.metric)}, validation", col=1)
    figure.update_layout(
        height=ROW_PIXELS * len(costs) + 60,
        plot_bgcolor="white",
        font={"color": INK},
        legend={"orientation": "h", "y": -0.12},
        margin={"t": 50, "l": 70, "r": 20},
        hoverlabel={"align": "left"},
    )
    return figure


def _ticks(device: DeviceFront, cost: Cost) -> dict[str, list[float] | list[str]]:
    """Whole numbers at round places: plotly's own log axis writes 0.7 as a small 7."""
    seen = [x for point in (*device.front, *device.others, device.dense) if (x := cost(point)) is not None]
    if not seen:
        return {}
    decades = range(math.floor(math.log10(min(seen))), math.ceil(math.log10(max(seen))) + 1)
    places = [mantissa * 10.0**decade for decade in decades for mantissa in (1, 1.5, 2, 3, 4, 5, 7)]
    return {"tickvals": places, "ticktext": [f"{place:g}" for place in places]}


def _traces(study: StudyFronts, device: DeviceFront, cost: Cost, *, in_legend: bool) -> list[go.Scatter]:
    import plotly.graph_objects as go

    def markers(name: str, points: Sequence[FrontPoint], marker: Mapping[str, object]) -> go.Scatter:
        known = [(x, point) for point in points if (x := cost(point)) is not None]
        return go.Scatter(
            x=[x for x, _ in known],
            y=[point.accuracy * 100 for _, point in known],
            text=[hover_text(study, device, point) for _, point in known],
            hoverinfo="text",
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=in_legend,
            marker=marker,
        )

    line = envelope([(x, point.accuracy * 100) for point in device.front if (x := cost(point)) is not None])
    steps = go.Scatter(
        x=[x for x, _ in line],
        y=[y for _, y in line],
        mode="lines",
        line={"shape": "hv", "color": FRONT, "width": 1.5},
        opacity=0.5,
        hoverinfo="skip",
        showlegend=False,
    )
    knee = [point for point in device.front if point.is_knee]
    formats = formats_of(study)
    front = []
    for place, name in enumerate(formats or ("front",)):
        colour, _, symbol = format_style(place)
        marker = {"color": colour, "symbol": symbol, "size": 9, "line": {"color": "white", "width": 1}}
        members = [point for point in device.front if not formats or format_text(point) == name]
        front.append(markers(f"front, {name}" if formats else name, members, marker))
    return [
        markers("dominated", device.others, {"color": OTHERS, "size": 6}),
        steps,
        *front,
        markers("dense", [device.dense], {"symbol": "diamond-open", "color": DENSE, "size": 13, "line": {"width": 2}}),
        markers("knee", knee, {"symbol": "star", "color": KNEE, "size": 16, "line": {"color": "white", "width": 1}}),
    ]


def hover_text(study: StudyFronts, device: DeviceFront, point: FrontPoint) -> str:
    """What a point says of itself, as HTML. The saving stands beside the energy that was the objective."""
    candidate, measurement = point.candidate, point.measurement
    lines = [f"<b>{candidate.id}</b>{' (simulated)' if measurement.simulated else ''}"]
    lines.append(f"{html.escape(metric_text(study.metric))}: {percent(candidate.accuracy)} on validation")
    if (difference := device.accuracy_difference(point)) is not None:
        lines.append(f"to dense on the same samples: {points_text(difference)} points")
    if candidate.test_accuracy is not None:
        on_test = device.test_accuracy_difference(point)
        to_dense = "" if on_test is None else f" ({points_text(on_test)} points to dense)"
        lines.append(f"on test: {percent(candidate.test_accuracy)}{to_dense}")
    lines.append(
        f"latency: {latency_text(measurement.latency_s)} ({speed_up(point, device.dense):.2f}× as fast as dense)"
    )
    saving, estimate = energy_saving(point, device), ", an estimate" if device.energy_is_estimate else ""
    for objective, name in ((EnergyObjective.TOTAL, "energy"), (EnergyObjective.DYNAMIC, "of it above idle")):
        energy = measurement.energy(objective)
        if energy is not None:
            saved = (
                f" ({saving * 100:.0f} % saved)" if saving is not None and objective is device.energy_objective else ""
            )
            lines.append(f"{name}: {energy_text(energy)}{estimate}{saved}")
    slow = ": smaller but not faster" if device.is_smaller_not_faster(point) else ""
    if device.varies_deployments:
        lines.append(f"run as: {html.escape(deployment_text(device.deployment(point)))}")
    lines.append(f"{count_text(candidate.macs)} MACs, {count_text(candidate.parameters)} parameters{slow}")
    if candidate.genome.dropped:
        lines.append(f"without {html.escape(', '.join(candidate.genome.dropped))}")
    lines.append(f"file: {size_text(candidate.bytes)}; measured {measurement.jobs}×, preset {measurement.preset}")
    return "<br>".join(lines)


def _latency_ms(point: FrontPoint) -> float:
    return point.measurement.latency_s.value * 1e3
