"""A model before and after pruning: what can be pruned, what is frozen and why, what a prune changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.views.figures import count_text
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # a front is shown without loading onnx
    from edgepareto.host.pruning import Analysis

__all__ = ["PruneReport", "inspect_json", "inspect_table", "prune_json", "prune_table"]

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What a prune did. widths: kept channels, in the order of the analysis' groups. seconds: by phase.

    recovered: False where no calibration data was given, so that the remaining weights are as they were.
    """

    analysis: Analysis
    widths: tuple[int, ...]
    macs: int
    parameters: int
    seconds: Mapping[str, float]
    file: Path
    recovered: bool


def inspect_json(analysis: Analysis) -> str:
    record = {
        "schema": SCHEMA,
        "inputs": [_tensor(t.name, t.shape, str(t.dtype)) for t in analysis.inputs],
        "outputs": [_tensor(t.name, t.shape, str(t.dtype)) for t in analysis.outputs],
        "parameters": analysis.parameters,
        "macs": analysis.macs,
        "groups": [
            {
                "name": group.name,
                "channels": group.channels,
                "step": 1,
                "layers": list(group.layers),
                "share_of_macs": group.share_of_macs,
            }
            for group in analysis.groups
        ],
        "frozen": _frozen(analysis),
    }
    return json.dumps(record, indent=2)


def prune_json(report: PruneReport) -> str:
    analysis = report.analysis
    record = {
        "schema": SCHEMA,
        "parameters": {"before": analysis.parameters, "after": report.parameters},
        "macs": {"before": analysis.macs, "after": report.macs},
        "groups": [
            {"name": group.name, "channels": group.channels, "kept": kept}
            for group, kept in zip(analysis.groups, report.widths, strict=True)
        ],
        "frozen": _frozen(analysis),
        "seconds": dict(report.seconds),
        "recovered": report.recovered,
        "file": str(report.file),
    }
    return json.dumps(record, indent=2)


def inspect_table(analysis: Analysis) -> Iterator[RenderableType]:
    for title, tensors in (("input", analysis.inputs), ("output", analysis.outputs)):
        for tensor in tensors:
            yield Text(f"{title:7} {tensor.name} {_shape_text(tensor.shape)} {tensor.dtype}")
    yield Text(f"{count_text(analysis.parameters)} parameters, {count_text(analysis.macs)} MACs")
    table = Table(title="prunable groups", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("group")
    table.add_column("channels", justify="right")
    table.add_column("of MACs", justify="right")
    table.add_column("layers")
    for group in analysis.groups:
        table.add_row(group.name, str(group.channels), f"{group.share_of_macs * 100:.1f} %", ", ".join(group.layers))
    yield table
    yield from _frozen_table(analysis)


def prune_table(report: PruneReport) -> Iterator[RenderableType]:
    analysis = report.analysis
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for heading in ("before", "after", "kept"):
        table.add_column(heading, justify="right")
    for name, before, after in (
        ("parameters", analysis.parameters, report.parameters),
        ("MACs", analysis.macs, report.macs),
    ):
        table.add_row(name, count_text(before), count_text(after), f"{after / before * 100:.1f} %" if before else "")
    yield table
    yield from _frozen_table(analysis)
    if not report.recovered:
        yield Text("! not repaired: without --calibration the accuracy is close to guessing", style="bold yellow")
    total_s = sum(report.seconds.values())
    yield Text(f"{report.file} written, {len(analysis.groups)} groups pruned in {total_s:.2f} s")


def _frozen_table(analysis: Analysis) -> Iterator[RenderableType]:
    if not analysis.frozen:
        return
    table = Table(title="frozen", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("group")
    table.add_column("why")
    for group in analysis.frozen:
        table.add_row(group.name, group.reason)
    yield table


def _frozen(analysis: Analysis) -> list[dict[str, str]]:
    return [{"name": group.name, "reason": group.reason} for group in analysis.frozen]


def _tensor(name: str, shape: Sequence[int | str | None], dtype: str) -> dict[str, object]:
    return {"name": name, "shape": list(shape), "dtype": dtype}


def _shape_text(shape: Sequence[int | str | None]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
