"""The colours of every picture: one for what matters, grey for the rest; told apart by shape as well as by hue."""

from __future__ import annotations

__all__ = ["DENSE", "FRONT", "GRID", "INK", "KNEE", "OTHERS", "QUIET_INK"]

FRONT = "#0b6e99"
KNEE = "#d9480f"
DENSE = "#1f2933"
OTHERS = "#c3c9d0"
INK = "#1f2933"
QUIET_INK = "#52606d"
GRID = "#e4e7eb"
