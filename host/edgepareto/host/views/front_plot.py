"""All fronts in one picture (PNG): a column per device, accuracy over latency, and over energy where it is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.domain.device_front import DeviceFront, FrontPoint, StudyFronts
from edgepareto.host.views.figures import (
    device_title,
    energy_label,
    energy_mj,
    format_text,
    metric_text,
    no_meter_text,
    study_title,
)
from edgepareto.host.views.palette import DENSE, FRONT, GRID, INK, KNEE, OTHERS, QUIET_INK, format_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_window", "envelope", "formats_of", "write_front_plot"]

Cost = Callable[[FrontPoint], float | None]
COLUMN_INCHES, ROW_INCHES = 5.4, 3.9
TITLE_POINTS = 14
TITLE_MARGIN = 0.01  # of the width, on each side


def write_front_plot(study: StudyFronts, path: Path) -> None:
    """Write the picture. The accuracies are those on the validation split, which the search saw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    costs = _costs(study)
    rows, columns = len(costs), len(study.devices)
    figure = Figure(figsize=(COLUMN_INCHES * columns, ROW_INCHES * rows + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    _entitle(figure, study_title(study))
    axes = figure.subplots(rows, columns, squeeze=False, sharey="row")
    window = accuracy_window(study)
    formats = formats_of(study)
    for column, device in enumerate(study.devices):
        for row, (label, cost) in enumerate(costs):
            panel = axes[row][column]
            _draw(panel, device, cost, formats)
            _dress(panel, label, window)
            if row == 0:
                panel.set_title(device_title(device), fontsize=11, color=INK, loc="left")
            if column == 0:
                panel.set_ylabel(f"{metric_text(study.metric)} (%), validation", color=QUIET_INK)
    named = {
        label: handle for panel in axes[0] for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False, labelcolor=INK)
    figure.savefig(path, dpi=150, facecolor="white")


def envelope(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, accuracy) pairs that no cheaper one reaches, cheapest first: the line through a front of three
    objectives in a picture of two."""
    best: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    return best


def accuracy_window(study: StudyFronts) -> tuple[float, float]:
    """The accuracies to show: all fronts and dense models with a margin; what lies far below would flatten them."""
    shown = [point.accuracy for device in study.devices for point in (*device.front, device.dense)]
    margin = max(0.08 * (max(shown) - min(shown)), 0.002)
    return min(shown) - 2 * margin, max(shown) + margin


def formats_of(study: StudyFronts) -> tuple[str, ...]:
    """What the fronts' members run as, runtime and precision; () where that is the same everywhere."""
    found = dict.fromkeys(format_text(point) for device in study.devices for point in (device.dense, *device.front))
    return tuple(found) if len(found) > 1 else ()


def _costs(study: StudyFronts) -> list[tuple[str, Cost]]:
    costs: list[tuple[str, Cost]] = [("latency (ms), logarithmic", _latency_ms)]
    metered = [device for device in study.devices if device.has_energy]
    if metered:
        objective = metered[0].energy_objective  # the study's, so every device's
        costs.append((f"{energy_label(study)}, logarithmic", lambda point: energy_mj(point, objective)))
    return costs


def _latency_ms(point: FrontPoint) -> float:
    return point.measurement.latency_s.value * 1e3


def _entitle(figure: Figure, title: str) -> None:
    """Whole at any width: its marks, such as (simulated boards), go to a second line, then the letters shrink."""
    drawn = figure.suptitle(title, fontsize=TITLE_POINTS, fontweight="bold", color=INK, x=TITLE_MARGIN, ha="left")
    room = figure.bbox.width * (1 - 2 * TITLE_MARGIN)
    if drawn.get_window_extent().width > room:
        drawn.set_text("\n(".join(title.rsplit(" (", 1)))
    drawn.set_fontsize(TITLE_POINTS * min(1.0, room / drawn.get_window_extent().width))


def _draw(panel: Axes, device: DeviceFront, cost: Cost, formats: Sequence[str]) -> None:
    front, others = _pairs(device.front, cost), _pairs(device.others, cost)
    if not front and not others:
        panel.text(0.5, 0.5, no_meter_text(device), transform=panel.transAxes, ha="center", color=QUIET_INK)
        panel.set_axis_off()
        return
    line = envelope(front)
    panel.scatter(*_columns(others), s=14, color=OTHERS, linewidths=0, label="dominated", zorder=2)
    panel.plot(*_columns(line), color=FRONT, linewidth=1.6, alpha=0.55, drawstyle="steps-post", zorder=3)
    for place, name in enumerate(formats or ("front",)):
        colour, marker, _ = format_style(place)
        members = _pairs([p for p in device.front if not formats or format_text(p) == name], cost)
        if members:
            label = f"front, {name}" if formats else name
            panel.scatter(
                *_columns(members), s=38, marker=marker, color=colour, edgecolors="white", linewidths=0.8, label=label,
                zorder=4,
            )  # fmt: skip
    dense = _pairs([device.dense], cost)
    panel.scatter(
        *_columns(dense), s=90, marker="D", facecolors="none", edgecolors=DENSE, linewidths=1.8, label="dense", zorder=5
    )
    knee = _pairs([point for point in device.front if point.is_knee], cost)
    panel.scatter(*_columns(knee), s=230, marker="*", color=KNEE, edgecolors="white", label="knee", zorder=6)


def _dress(panel: Axes, label: str, window: tuple[float, float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    panel.set_xscale("log")
    panel.set_xlabel(label, color=QUIET_INK)
    panel.set_ylim(window[0] * 100, window[1] * 100)
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7), numticks=20))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.grid(visible=True, color=GRID, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.tick_params(colors=QUIET_INK, labelsize=9, length=0, which="both")
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color(GRID)


def _pairs(points: Sequence[FrontPoint], cost: Cost) -> list[tuple[float, float]]:
    pairs = [(cost(point), point.accuracy * 100) for point in points]
    return [(value, accuracy) for value, accuracy in pairs if value is not None]


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
