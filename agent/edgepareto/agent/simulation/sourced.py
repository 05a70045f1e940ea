"""Constants of a board's TOML file, each with the source it came from: `{ value = 2.6, source = "5d (D)" }`."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Table", "constant", "constants", "pairs", "words"]

Value: TypeAlias = Any  # as tomllib reads it; the files are our own
Table: TypeAlias = dict[str, Value]


def constant(table: Table, name: str) -> float:
    return float(_value(table, name))


def constants(table: Table, name: str) -> tuple[int, ...]:
    return tuple(int(value) for value in _value(table, name))


def pairs(table: Table, name: str) -> tuple[tuple[int, float], ...]:
    return tuple((int(first), float(second)) for first, second in _value(table, name))


def words(table: Table, name: str) -> tuple[str, ...]:
    return tuple(str(word) for word in _value(table, name))


def _value(table: Table, name: str) -> Value:
    """A figure without a source is no figure."""
    entry = table[name]
    assert entry["source"], f"{name} has no source"
    return entry["value"]
