"""What befell a board while a host used it: kept beside the numbers, never needed to replay them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgepareto.host.domain.device import DeviceName

__all__ = ["Incident"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One trouble of one board, told when it is over.

    kind: a word that does not change, such as `connection-cut`, `rebooted`, `agent-restarted`. detail: what happened,
    in words without the device's name ("the connection was cut for 5 s in batch 12"). at: when it began, with its time
    zone. outcome: what came of it ("sent again", "measured again", "given up").
    """

    device: DeviceName
    kind: str
    detail: str
    at: datetime
    outcome: str
