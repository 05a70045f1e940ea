"""One table of edgepareto.toml together with the flags that win over it; every value is checked as it is taken."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from edgepareto.host.config.toml_file import TomlFile, TomlTable, TomlValue
from edgepareto.host.errors import ConfigError

__all__ = ["Section", "did_you_mean"]

ALL = "all"
FRACTION = re.compile(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*/\s*([\d.]+(?:[eE][-+]?\d+)?)\s*")


class Section:
    """Takes keys one by one, each with its type and range; `refuse_unknown` then names what nobody took.

    path: () for the top level, ("devices", "pi1") for [devices.pi1]. flags: by key, None where not given.
    Every method returns None where neither the flags nor the file set the key, and raises ConfigError naming the flag,
    or the file's line, the value seen and what is allowed.
    """

    def __init__(self, file: TomlFile | None, path: tuple[str, ...], flags: Mapping[str, TomlValue]) -> None:
        self._file = file
        self._path = path
        self._flags = {key: value for key, value in flags.items() if value is not None}
        self._table = _table_at(file, path)
        self._taken: set[str] = set()

    def text(self, key: str) -> str | None:
        value = self._take(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self.error(key, "must be a text, and not an empty one")
        return value

    def choice(self, key: str, allowed: Collection[str]) -> str | None:
        value = self.text(key)
        if value is not None and value not in allowed:
            raise self.error(key, f"is not known; choose {', '.join(allowed)}{did_you_mean(value, allowed)}")
        return value

    def integer(self, key: str, *, least: int) -> int | None:
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.error(key, f"must be a whole number, {least} or more")
        return value

    def number(self, key: str, *, above: float = -math.inf, most: float = math.inf) -> float | None:
        """A finite number in (above, most]; also a fraction as a text, "1/255"."""
        value = self._take(key)
        if value is None:
            return None
        seen = _as_number(value)
        if seen is None or not math.isfinite(seen) or not above < seen <= most:
            bounds = [
                f"more than {above:g}" if above > -math.inf else "",
                f"at most {most:g}" if most < math.inf else "",
            ]
            allowed = " and ".join(b for b in bounds if b)
            raise self.error(key, f"must be a number{', ' if allowed else ''}{allowed}")
        return seen

    def flag(self, key: str) -> bool | None:
        value = self._take(key)
        if value is not None and not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "must be a list of texts")
        return tuple(value)

    def several(self, key: str, known: Sequence[str] | None = None) -> tuple[str, ...] | None:
        """A list of words, or one text with commas between them; () for the word "all". known: which there are, and the
        order in which they come back."""
        value = self._take(key)
        if value is None:
            return None
        if isinstance(value, str):
            value = [word.strip() for word in value.split(",")]
        words = tuple(str(word) for word in value) if isinstance(value, (list, tuple)) else ()
        if words == (ALL,):
            return ()
        allowed = "" if known is None else f": {', '.join(known)}"
        if not words or not all(words):
            raise self.error(key, f'must be "{ALL}" or a list of one or more{allowed}')
        for word in words:
            if known is not None and word not in known:
                raise self.error(key, f"{word} is none of {', '.join(known)}, {ALL}{did_you_mean(word, known)}")
        return tuple(dict.fromkeys(words)) if known is None else tuple(word for word in known if word in words)

    def sizes(self, key: str) -> tuple[int, ...] | None:
        value = self._take(key)
        if value is None:
            return None
        numbers = isinstance(value, (list, tuple)) and bool(value)
        if not numbers or not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in value):  # type: ignore[attr-defined]
            raise self.error(key, "must be a list of whole numbers, 1 or more")
        return tuple(value)  # type: ignore[arg-type]

    def path(self, key: str, folder: Path) -> Path | None:
        """A path from the file is relative to `folder`, one from a flag to the current folder; ~ is the user's home."""
        value = self.text(key)
        if value is None:
            return None
        try:
            return (Path.cwd() if key in self._flags else folder) / Path(value).expanduser()
        except RuntimeError as error:
            raise self.error(key, "there is no such home folder; write the path from /") from error

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that stand in the file."""
        return tuple(self._table)

    @property
    def given(self) -> frozenset[str]:
        """The keys that the file or a flag sets."""
        return frozenset((*self._table, *self._flags))

    def table(self, key: str) -> TomlTable:
        """What stands there as it is; empty where it is no table."""
        value = self._table.get(key)
        return value if isinstance(value, Mapping) else {}

    def subtable(self, key: str) -> None:
        """Declare a table that another Section reads."""
        self._taken.add(key)
        if not isinstance(self._table.get(key, {}), Mapping):
            raise self.error(key, f"must be a table, written as [{'.'.join((*self._path, key))}]")

    def refuse_unknown(self) -> None:
        for key in self._table:
            if key not in self._taken:
                hint = did_you_mean(key, self._taken) or f"; known are {', '.join(sorted(self._taken))}"
                raise ConfigError(f"{self._place(key)} is not a setting{hint}")

    def error(self, key: str, problem: str) -> ConfigError:
        if key in self._flags:
            return ConfigError(f"--{key.replace('_', '-')} {self._flags[key]}: {problem}")
        value = self._table.get(key)
        seen = "" if isinstance(value, Mapping) else f" = {_as_toml(value)}"
        return ConfigError(f"{self._place(key)}{seen}: {problem}")

    def _take(self, key: str) -> TomlValue | None:
        self._taken.add(key)
        return self._flags.get(key, self._table.get(key))

    def _place(self, key: str) -> str:
        assert self._file is not None, "only a file has unknown keys"
        label = f"[{'.'.join(self._path)}] " if self._path else ""
        return f"{self._file.place((*self._path, key))}: {label}{key}"


def did_you_mean(seen: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(seen, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _table_at(file: TomlFile | None, path: tuple[str, ...]) -> TomlTable:
    table: TomlTable = file.table if file is not None else {}
    for key in path:
        inner = table.get(key, {})
        assert isinstance(inner, Mapping), "declared with subtable()"
        table = inner
    return table


def _as_number(value: TomlValue) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    fraction = FRACTION.fullmatch(value) if isinstance(value, str) else None
    if fraction is None:
        return None
    try:
        return float(fraction.group(1)) / float(fraction.group(2))
    except (ValueError, ZeroDivisionError):
        return None


def _as_toml(value: TomlValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
