"""A TOML file that remembers on which line each key stands, so that a complaint can point at it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["TomlFile", "TomlTable", "TomlValue", "parse_toml", "read_toml"]

TomlValue = object
TomlTable = Mapping[str, TomlValue]
KeyPath = tuple[str, ...]
HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
ASSIGNMENT = re.compile(r"""\s*([A-Za-z0-9_\-."' ]+?)\s*=""")
POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class TomlFile:
    """label: as shown to the user. table: what tomllib read. lines: line of each key and of each [table], by path."""

    path: Path
    label: str
    table: TomlTable
    lines: Mapping[KeyPath, int]

    def place(self, key: Sequence[str]) -> str:
        """`edgepareto.toml:12`: where the key, or the nearest table around it, stands."""
        for length in range(len(key), 0, -1):
            line = self.lines.get(tuple(key[:length]))
            if line is not None:
                return f"{self.label}:{line}"
        return self.label


def read_toml(path: Path, *, label: str | None = None) -> TomlFile:
    """label: the file's name by default. ConfigError where it is missing, unreadable or no TOML (with the line)."""
    label = label or path.name
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{label}: is no UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_toml(text, path, label=label)


def parse_toml(text: str, path: Path, *, label: str) -> TomlFile:
    """A file's text, also before it is written. Raises ConfigError."""
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{label}: is no TOML that anybody wrote: nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, and int's own for thousands of digits
        found = POSITION.search(str(error))
        line = (found and found.group(1)) or text.count("\n") + 1
        reason = POSITION.sub("", str(error))
        raise ConfigError(f"{label}:{line}: is no TOML: {reason[:1].lower()}{reason[1:]}") from error
    return TomlFile(path=path, label=label, table=table, lines=_key_lines(text))


def _key_lines(text: str) -> dict[KeyPath, int]:
    """By reading line by line: tomllib tells no positions. Keys inside inline tables have none of their own."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = _parts(header.group(1))
            lines.setdefault(table, number)
        elif assignment := ASSIGNMENT.match(line):
            lines.setdefault((*table, *_parts(assignment.group(1))), number)
    return lines


def _parts(dotted: str) -> KeyPath:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
