"""A model before and after pruning: what can be pruned, what is frozen and why, what a prune changed."""

from __future__ import annotations

import json
import math
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
    import onnx
    from edgepareto.host.domain import ChannelGene
    from edgepareto.host.pruning import Analysis, ChannelGroup, PrunedModel

__all__ = ["PruneReport", "inspect_json", "inspect_table", "prune_json", "prune_table"]

SCHEMA = 1
LAYERS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What a prune did. widths: kept channels, in the order of the analysis' groups. seconds: by phase.

    criterion: what ranked the channels. recover: what repaired the rest, "none" where nothing did. images: calibration
    samples that were used, None where none were needed. file: None where the model was not written. doubts: what may be
    wrong with the calibration, one line each.
    """

    analysis: Analysis
    pruned: PrunedModel
    widths: tuple[int, ...]
    criterion: str
    recover: str
    images: int | None
    step: int
    seconds: Mapping[str, float]
    file: Path | None
    doubts: tuple[str, ...] = ()

    @property
    def model(self) -> onnx.ModelProto:
        """Read from its bytes at each access."""
        return self.pruned.model

    @property
    def macs(self) -> int:
        return self.pruned.macs

    @property
    def parameters(self) -> int:
        return self.pruned.parameters

    @property
    def recovered(self) -> bool:
        return self.recover != "none"


def inspect_json(analysis: Analysis, *, step: int = 1) -> str:
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
                "features": group.features,
                **_steps(gene),
                "layers": list(group.layers),
                "share_of_macs": group.share_of_macs,
            }
            for group, gene in zip(analysis.groups, analysis.search_space(step).genes, strict=True)
        ],
        "branches": [
            {
                "name": branch.name,
                "layers": list(branch.layers),
                "groups": [analysis.groups[place].name for place in branch.groups],
                "branches": [analysis.branches[place].name for place in branch.branches],
                "macs": branch.macs,
                "parameters": branch.parameters,
                "share_of_macs": branch.share_of_macs,
            }
            for branch in analysis.branches
        ],
        "frozen": _frozen(analysis),
    }
    return json.dumps(record, indent=2)


def prune_json(report: PruneReport) -> str:
    analysis = report.analysis
    record: dict[str, object] = {
        "schema": SCHEMA,
        "parameters": {"before": analysis.parameters, "after": report.parameters},
        "macs": {"before": analysis.macs, "after": report.macs},
        "groups": [
            {"name": group.name, "channels": group.channels, "kept": kept}
            for group, kept in zip(analysis.groups, report.widths, strict=True)
        ],
        "frozen": _frozen(analysis),
        "seconds": dict(report.seconds),
        "step": report.step,
        "criterion": report.criterion,
        "recover": report.recover,
        "recovered": report.recovered,
    }
    if report.images is not None:
        record["calibration_images"] = report.images
    if report.doubts:
        record["doubts"] = list(report.doubts)
    if report.file is not None:
        record["file"] = str(report.file)
    return json.dumps(record, indent=2)


def inspect_table(analysis: Analysis, *, step: int = 1) -> Iterator[RenderableType]:
    for title, tensors in (("input", analysis.inputs), ("output", analysis.outputs)):
        for tensor in tensors:
            yield Text(f"{title:7} {tensor.name} {_shape_text(tensor.shape)} {tensor.dtype}")
    yield Text(f"{count_text(analysis.parameters)} parameters, {count_text(analysis.macs)} MACs")
    if analysis.groups:
        table = _table("prunable groups", "group", "channels", "step", "of MACs", "layers")
        for group, gene in zip(analysis.groups, analysis.search_space(step).genes, strict=True):
            share = f"{group.share_of_macs * 100:.1f} %"
            _add_row(table, group.name, _channels(group), str(_steps(gene)["step"]), share, _short(group.layers))
        yield table
    else:
        yield Text("no channel can be pruned" if analysis.branches else "nothing can be pruned", style="bold yellow")
    if analysis.branches:
        table = _table("branches that a search may leave out", "branch", "parameters", "of MACs", "layers")
        for branch in analysis.branches:
            size, share = count_text(branch.parameters), f"{branch.share_of_macs * 100:.1f} %"
            _add_row(table, branch.name, size, share, _short(branch.layers))
        yield table
    yield from _frozen_table(analysis)


def prune_table(report: PruneReport) -> Iterator[RenderableType]:
    analysis = report.analysis
    groups = _table("groups", "group", "channels", "kept")
    for group, kept in zip(analysis.groups, report.widths, strict=True):
        _add_row(groups, group.name, str(group.channels), str(kept))
    yield groups
    yield from _frozen_table(analysis)
    sizes = _table(None, "", "before", "after", "kept")
    for name, before, after in (
        ("parameters", analysis.parameters, report.parameters),
        ("MACs", analysis.macs, report.macs),
    ):
        _add_row(sizes, name, count_text(before), count_text(after), f"{after / before * 100:.1f} %" if before else "")
    yield sizes
    narrow = sum(len(gene.widths) == 1 for gene in analysis.search_space(report.step).genes)
    if narrow:
        whole = f"{narrow} of {len(analysis.groups)} groups are no wider and stay whole"
        yield Text(f"! step {report.step}: {whole}", style="bold yellow")
    for doubt in report.doubts:
        yield Text(f"! {doubt}", style="bold yellow")
    pruned = sum(kept < group.channels for group, kept in zip(analysis.groups, report.widths, strict=True))
    if report.recovered:
        yield Text(f"ranked by {report.criterion}, repaired by {report.recover} on {report.images} samples")
    elif pruned:
        hint = "without --calibration " if report.images is None else ""
        yield Text(
            f"! ranked by {report.criterion}, not repaired: {hint}the accuracy is close to guessing",
            style="bold yellow",
        )
    written = "" if report.file is None else f"{report.file} written, "
    counted = f"{pruned} of {len(analysis.groups)} groups pruned"
    yield Text(f"{written}{counted} in {sum(report.seconds.values()):.2f} s")


def _frozen_table(analysis: Analysis) -> Iterator[RenderableType]:
    if analysis.frozen:
        table = _table("frozen", "group", "channels", "why")
        for group in analysis.frozen:
            _add_row(table, group.name, str(group.channels), group.reason)
        yield table


def _table(title: str | None, *headings: str) -> Table:
    """Numbers stand on the right; the first column, a name that --group-ratios takes, is never cut by the others."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column(headings[0], overflow="fold", no_wrap=True)
    for heading in headings[1:]:
        words = heading in ("layers", "why")
        table.add_column(heading, justify="left" if words else "right", overflow="fold", ratio=1 if words else None)
    return table


def _add_row(table: Table, *cells: str) -> None:
    table.add_row(*map(Text, cells))  # as they are: a name may hold brackets, which rich reads as a style


def _short(layers: Sequence[str]) -> str:
    """The first few of many: a residual stream couples dozens, which the JSON lists."""
    shown = ", ".join(layers[:LAYERS_SHOWN])
    return f"{shown} and {len(layers) - LAYERS_SHOWN} more" if len(layers) > LAYERS_SHOWN else shown


def _steps(gene: ChannelGene) -> dict[str, int]:
    """step: the greatest common divisor of what may be kept; that of a group which cannot be cut is all its channels.

    smallest: only where it differs, in a group whose parts are of unequal size.
    """
    cut = gene.widths[:-1] or gene.widths  # the original width stays allowed, whatever the step
    step = math.gcd(*cut)
    return {"step": step} if cut[0] == step else {"step": step, "smallest": cut[0]}


def _frozen(analysis: Analysis) -> list[dict[str, str | int]]:
    return [{"name": group.name, "channels": group.channels, "reason": group.reason} for group in analysis.frozen]


def _tensor(name: str, shape: Sequence[int | str | None], dtype: str) -> dict[str, object]:
    return {"name": name, "shape": list(shape), "dtype": dtype}


def _shape_text(shape: Sequence[int | str | None]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"


def _channels(group: ChannelGroup) -> str:
    """3 x 24 where each channel stands for 24 features (a head)."""
    return str(group.channels) if group.features == 1 else f"{group.channels} x {group.features}"
