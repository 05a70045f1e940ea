"""A table that shows as much as there is room for: whole columns go before any number is cut."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table

__all__ = ["Fitting"]

ANY_WIDTH = 10_000


class Fitting:
    """layouts: the same rows, the fullest first. The first that is whole in the width is shown, else the last."""

    def __init__(self, layouts: Sequence[Table]) -> None:
        self._layouts = layouts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        endless = options.update(width=ANY_WIDTH)
        whole = (t for t in self._layouts if Measurement.get(console, endless, t).maximum <= options.max_width)
        yield next(whole, self._layouts[-1])
