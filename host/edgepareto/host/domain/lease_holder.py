"""Who has a board at the moment."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LeaseHolder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHolder:
    """owner: in its own words. fingerprint: of its certificate, "" on this machine. expires_in_s: unless it is renewed.
    waiting: how many others are in line.
    """

    owner: str
    fingerprint: str
    expires_in_s: float
    waiting: int
