"""A share of channels to remove for each group: from a TOML file or a mapping to one number per group of a model.

"layer1.*" = 0.3        # * stands for anything, ? for one character
"layer1.0.conv1" = 0.5  # a name wins over a pattern, a later pattern over an earlier one
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from pathlib import Path

from edgepareto.host.config.section import did_you_mean
from edgepareto.host.config.toml_file import TomlTable, TomlValue, read_toml
from edgepareto.host.errors import ConfigError
from edgepareto.host.pruning import Analysis

__all__ = ["ratios_per_group", "read_group_ratios"]


def read_group_ratios(path: Path) -> dict[str, TomlValue]:
    """Names and patterns in the file's order, their values unchecked. ConfigError: no such file, no TOML, or empty."""
    ratios = dict(_flat(read_toml(path).table, ()))
    if not ratios:
        raise ConfigError(f'{path}: holds no ratio; write lines such as "GROUP" = 0.5, host inspect shows the groups')
    return ratios


def ratios_per_group(
    given: Mapping[str, TomlValue], analysis: Analysis, *, default: float, source: str
) -> tuple[float, ...]:
    """The share of channels to remove, per group of the analysis. default: for groups that nobody names.

    source: what a complaint begins with. Raises ConfigError for a value that is no number in [0, 1), a name that no
    group has (with the nearest one), and a group that is frozen (with the reason).
    """
    names = [group.name for group in analysis.groups]
    of_patterns: dict[str, float] = {}
    of_names: dict[str, float] = {}
    for name, value in given.items():
        ratio = _checked(value, f"{source}: {_shown(name, value)}")
        if name in names:
            of_names[name] = ratio
            continue
        matching = [known for known in names if _matches(known, name)]
        if not matching:
            raise ConfigError(f"{source}: {_shown(name, value)}: {_why_unknown(name, analysis)}")
        of_patterns.update(dict.fromkeys(matching, ratio))
    return tuple({**of_patterns, **of_names}.get(name, default) for name in names)


def _flat(table: TomlTable, path: tuple[str, ...]) -> Iterator[tuple[str, TomlValue]]:
    """TOML reads layer1.conv = 0.5 without quotes as a table in a table; the name is meant."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*path, key))
        else:
            yield ".".join((*path, key)), value


def _checked(value: TomlValue, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 <= value < 1:
        raise ConfigError(f"{place}: must be a number, 0 or more and below 1, the share of channels to remove")
    return float(value)


def _matches(name: str, pattern: str) -> bool:
    # Exporters put brackets into names, so those are never a set of characters here.
    return re.fullmatch(translate(pattern.replace("[", "[[]")), name) is not None


def _why_unknown(name: str, analysis: Analysis) -> str:
    frozen = next((group for group in analysis.frozen if group.name == name or _matches(group.name, name)), None)
    if frozen is not None:
        return f"{frozen.name} is frozen: {frozen.reason}"
    hint = did_you_mean(name, [group.name for group in analysis.groups])
    return f"no such group{hint or '; host inspect shows the groups'}"


def _shown(name: str, value: TomlValue) -> str:
    return f'"{name}" = {value!r}' if isinstance(value, str) else f'"{name}" = {value}'
