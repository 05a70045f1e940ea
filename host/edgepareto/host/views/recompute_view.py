"""What recomputed numbers differ from those shown before, a line each, the largest first."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgepareto.host.domain.recomputed import Change, Recomputed

__all__ = ["recomputed_lines"]

MOST_LINES = 12


def recomputed_lines(recomputed: Recomputed) -> Iterator[str]:
    changes = recomputed.changes
    if recomputed.shown_by is None:
        yield "no numbers of this study were kept from an earlier showing, so there is nothing to compare with"
        return
    before = f"{recomputed.compared} numbers shown before by edgepareto {recomputed.shown_by}"
    if not changes:
        yield f"all {before} are the same"
        return
    yield f"{len(changes)} of {before} changed:"
    for change in sorted(changes, key=_size, reverse=True)[:MOST_LINES]:
        where = f"{change.device} {change.candidate}".rstrip()
        yield f"  {where}: {change.number} {_text(change.before)} -> {_text(change.after)}{_percent(change)}"
    if len(changes) > MOST_LINES:
        yield f"  and {len(changes) - MOST_LINES} smaller ones"


def _size(change: Change) -> float:
    if change.before is None or change.after is None or change.before == 0:
        return math.inf
    return abs(change.after / change.before - 1)


def _text(value: float | None) -> str:
    return "absent" if value is None else f"{value:.6g}"


def _percent(change: Change) -> str:
    size = _size(change)
    if change.before is None or change.after is None or math.isinf(size):
        return ""
    return f" ({100 * (change.after / change.before - 1):+.2g} %)"
