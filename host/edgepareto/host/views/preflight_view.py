"""What a look at a board found: everything, and under it what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepareto.host.domain.board_facts import Check, CheckState
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["preflight_table"]

MARKS = {
    CheckState.OK: ("ok", "green"),
    CheckState.NOTE: ("note", "bold yellow"),
    CheckState.FAIL: ("FAIL", "bold red"),
}


def preflight_table(name: str, checks: Sequence[Check]) -> Iterator[RenderableType]:
    table = Table(title=name, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("looked at", "", "seen", "what to do"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        mark, style = MARKS[check.state]
        table.add_row(check.name, Text(mark, style=style), Text(check.seen), Text(check.advice))
    yield table
    for check in checks:
        if check.state is CheckState.FAIL:
            yield Text(f"  ! {name}: {check.name}: {check.seen}; {check.advice}", style="bold red")
