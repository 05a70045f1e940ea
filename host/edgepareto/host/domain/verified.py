"""What scoring on a board says: a candidate's accuracy there and on the host, by the same file on the same samples."""

from __future__ import annotations

from dataclasses import dataclass

from edgepareto.host.domain.candidate import CandidateId
from edgepareto.host.domain.deployment import Deployment
from edgepareto.host.domain.device import DeviceInfo
from edgepareto.host.domain.interval import Interval

__all__ = ["Verified", "VerifiedDevice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One candidate. on_host, on_board None: it could not be scored there, and failure says why.

    samples: how many they are of. difference: the board's minus the host's, paired by sample, with its 95 % interval;
    None for a metric that counts no samples.
    """

    candidate: CandidateId
    deployment: Deployment
    on_host: float | None
    on_board: float | None
    difference: Interval | None = None
    failure: str = ""
    samples: int = 0

    @property
    def differs(self) -> bool | None:
        """By more than the luck of the samples explains. None: not known, unless not even the values differ."""
        if self.on_host is None or self.on_board is None:
            return None
        if self.difference is None:
            return False if self.on_host == self.on_board else None
        return not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDevice:
    """split: of which the samples are, test or validation."""

    device: DeviceInfo
    metric: str
    split: str
    samples: int
    candidates: tuple[Verified, ...]
