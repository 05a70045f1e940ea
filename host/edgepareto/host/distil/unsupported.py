"""What the interpreter does not know: the candidate then stays as it was, with this line beside it."""

from __future__ import annotations

__all__ = ["Unsupported"]


class Unsupported(Exception):
    """The message names the operator, and what of it is not known where it is known in part."""
