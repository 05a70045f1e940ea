"""Figures as the tables of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["markdown_table"]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """One line per row, ready to be pasted. Every row has as many cells as the header."""
    lines = [header, ["---"] * len(header), *rows]
    assert all(len(line) == len(header) for line in lines), "a row with too few or too many cells"
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
