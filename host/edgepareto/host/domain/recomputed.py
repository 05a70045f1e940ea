"""What drawing a study's numbers again from its traces gave, beside what was shown before."""

from __future__ import annotations

from dataclasses import dataclass

from edgepareto.host.domain.device_front import StudyFronts

__all__ = ["Change", "Recomputed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A number that differs: its JSON name. candidate "": the device's own. before, after None: not there."""

    device: str
    candidate: str
    number: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """damaged: a line for every stored trace that cannot be read and was left out. shown_by: the version of edgepareto
    that showed the numbers compared with, `compared` of them; None: none were shown."""

    fronts: StudyFronts
    damaged: tuple[str, ...]
    shown_by: str | None
    changes: tuple[Change, ...]
    compared: int
