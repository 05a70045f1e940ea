"""The networks of tests/models, as both torch exporters and Keras write them: what can be pruned, what is repaired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from edgepareto.host.export import read_model
from edgepareto.host.pruning import Analysis, analyse
from edgepareto.host.pruning.layer import Layer, LayerKind
from markdown_table import markdown_table

__all__ = ["architectures_prunable"]

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "models"
HELD_BY_OUTPUT = "reaches the model's output"
CUT_ONLY = (LayerKind.OTHER, LayerKind.MEMORY)


def architectures_prunable() -> str:
    """One row per architecture and outcome: exporters with the same figures share a row."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for name, exporter, path in _files():
        analysis = analyse(read_model(path))
        rows.setdefault((name, *_figures(analysis)), []).append(exporter)
    header = ["network", "exporter", "groups", "channels prunable", "least squares for"]
    return markdown_table(header, [[key[0], ", ".join(who), *key[1:]] for key, who in rows.items()])


def _files() -> Iterator[tuple[str, str, Path]]:
    for path in sorted(FOLDER.glob("*.*.onnx")):
        name, exporter, _ = path.name.split(".")
        yield name, exporter, path


def _figures(analysis: Analysis) -> tuple[str, str, str]:
    prunable = sum(group.channels for group in analysis.groups)
    held = sum(group.channels for group in analysis.frozen if not group.reason.startswith(HELD_BY_OUTPUT))
    nodes = analysis.model.graph.node
    kinds = Counter(_kind(layer, nodes[layer.node].op_type) for layer in analysis.graph.layers if _is_repaired(layer))
    repaired = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return str(len(analysis.groups)), f"{prunable / (prunable + held):.0%}", repaired


def _is_repaired(layer: Layer) -> bool:
    return layer.kind not in CUT_ONLY


def _kind(layer: Layer, operator: str) -> str:
    if layer.kind is LayerKind.GROUPED:
        return f"depthwise {operator}" if layer.input_axis is None else f"grouped {operator}"
    return operator
