"""What LiteRT cannot express."""

from __future__ import annotations

__all__ = ["Unsupported"]


class Unsupported(Exception):
    """One node that has no counterpart; the message names the operator and what about it, without its name."""
