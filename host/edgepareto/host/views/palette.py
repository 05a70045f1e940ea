"""The colours of every picture: one for what matters, grey for the rest; told apart by shape as well as by hue."""

from __future__ import annotations

__all__ = ["DENSE", "FRONT", "GRID", "INK", "KNEE", "OTHERS", "QUIET_INK", "SHAPES", "format_style"]

FRONT = "#0b6e99"
KNEE = "#d9480f"
DENSE = "#1f2933"
OTHERS = "#c3c9d0"
INK = "#1f2933"
QUIET_INK = "#52606d"
GRID = "#e4e7eb"
# Of the formats on a front, in the order in which they are met: colour, matplotlib's marker, plotly's symbol.
SHAPES = (
    (FRONT, "o", "circle"),
    ("#2b8a3e", "s", "square"),
    ("#862e9c", "^", "triangle-up"),
    ("#e67700", "v", "triangle-down"),
    ("#0ca678", "P", "cross"),
    ("#5c7cfa", "X", "x"),
    ("#a61e4d", "p", "pentagon"),
    ("#495057", "h", "hexagon"),
)


def format_style(place: int) -> tuple[str, str, str]:
    """Of the format at this place; after the last one they begin again."""
    return SHAPES[place % len(SHAPES)]
