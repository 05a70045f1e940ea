"""The stairs of every probed device in one picture (PNG): a row per device, a column per kind of kernel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.domain.learned_steps import KindProbe
from edgepareto.host.views.palette import FRONT, GRID, INK, KNEE, QUIET_INK
from edgepareto.host.views.steps_view import KIND_NAMES, ProbedSteps, medians_by_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_steps_plot"]

PANEL_INCHES = (4.4, 3.2)


def write_steps_plot(probed: Sequence[ProbedSteps], path: Path) -> None:
    """Every job is a dot; multiples of the step that was found are marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = len(probed), len(KIND_NAMES)
    figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, device in enumerate(probed):
        for column, probe in enumerate(device.learned.probes):
            panel = axes[row][column]
            _draw(panel, probe)
            mark = " (simulated)" if device.learned.simulated else ""
            panel.set_title(f"{device.learned.device}{mark}: {_title(probe)}", fontsize=10, color=INK, loc="left")
            if column == 0:
                panel.set_ylabel("latency (µs)", color=QUIET_INK)
            if row == rows - 1:
                panel.set_xlabel("output channels", color=QUIET_INK)
    figure.savefig(path, dpi=150, facecolor="white", format="png")


def _title(probe: KindProbe) -> str:
    found = probe.staircase
    if not found.is_sure:
        return f"{KIND_NAMES[probe.kind]}, not sure"
    return f"{KIND_NAMES[probe.kind]}, " + ("no step" if found.step == 1 else f"step {found.step}")


def _draw(panel: Axes, probe: KindProbe) -> None:
    medians = medians_by_width(probe)
    widths, latencies_us = [width for width, _ in medians], [latency_s * 1e6 for _, latency_s in medians]
    panel.plot(widths, latencies_us, color=FRONT, linewidth=1.0, alpha=0.5, zorder=2)
    panel.scatter(probe.widths, [s * 1e6 for s in probe.latencies_s], s=16, color=FRONT, linewidths=0, zorder=3)
    if probe.staircase.is_sure and probe.staircase.step > 1:
        at = [(w, us) for w, us in zip(widths, latencies_us, strict=True) if w % probe.staircase.step == 0]
        columns = [w for w, _ in at], [us for _, us in at]
        panel.scatter(*columns, s=60, facecolors="none", edgecolors=KNEE, linewidths=1.5, zorder=4)
    panel.set_ylim(bottom=0)
    panel.set_xticks(range(0, max(widths) + 8, 8))
    panel.grid(visible=True, color=GRID, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.tick_params(colors=QUIET_INK, labelsize=9, length=0)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color(GRID)
