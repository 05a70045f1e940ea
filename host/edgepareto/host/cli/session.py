"""What the user said about the command itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Session"]


@dataclass(slots=True, kw_only=True)
class Session:
    """Filled while the flags are parsed, so that an error on the way is already shown as asked for.

    can_resume: the verb is one that goes on with --resume when it is interrupted.
    """

    debug: bool = False
    quiet: bool = False
    can_resume: bool = False
