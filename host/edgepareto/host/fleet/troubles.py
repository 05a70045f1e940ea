"""What befell a board in the middle of one batch, told when it is known what came of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from enum import Enum

from edgepareto.host.domain import DeviceName
from edgepareto.host.domain.incident import Incident

__all__ = ["IncidentKind", "Troubles", "now"]

FROM_JOURNAL = "its result was waiting in the board's journal"
MEASURED_ANEW = "the batch was measured again, from its start"
SENT_AGAIN = "sent again"
WENT_ON = "the batch went on"
GIVEN_UP = "given up"
STOPPED = "stopped before the batch was answered"


class IncidentKind(str, Enum):
    """The fleet's words for an incident. Never changed: they stand in stored studies."""

    CONNECTION_CUT = "connection-cut"
    AGENT_RESTARTED = "agent-restarted"
    REBOOTED = "rebooted"
    LEASE_LOST = "lease-lost"
    UPLOAD_CORRUPT = "upload-corrupt"
    DISK_FULL = "disk-full"
    METER_LOST = "meter-lost"
    LOST = "lost"


class Troubles:
    """Of one batch, in order. `send` stands for the request that has the agent measure it."""

    def __init__(self, device: DeviceName, on_incident: Callable[[Incident], None]) -> None:
        self._device = device
        self._on_incident = on_incident
        self._open: list[_Open] = []
        self._was_sent = False
        self._is_measured = False
        self._steps: set[str] = set()  # seen since the batch was begun
        self.got_on = False  # since the last trouble

    def send(self) -> None:
        """The batch is asked for now: from here on the agent may be measuring it."""
        self._was_sent = True

    def step(self, words: str) -> None:
        """The agent told what it measures now. It gets on with a step that is new: of those there is an end."""
        self._is_measured = True
        self.got_on = self.got_on or words not in self._steps
        self._steps.add(words)

    def add(self, kind: IncidentKind, detail: str, *, at: datetime, lease_kept: bool = False) -> None:
        """lease_kept: the agent still knew our lease, so a batch that it was measuring went on."""
        # A lease that ends in a batch is told after its steps: before any of them the batch was refused, not measured.
        is_refused = kind is IncidentKind.LEASE_LOST and not self._is_measured and not self._open
        if self._is_measured:
            self._settle()
        self._is_measured = self.got_on = False
        was_sent = self._was_sent and not is_refused
        self._open.append(_Open(kind, detail, at, was_sent=was_sent, lease_kept=lease_kept))
        if not lease_kept:
            self._was_sent = False
            self._steps.clear()

    def note(self, kind: IncidentKind, detail: str, outcome: str, *, at: datetime) -> None:
        """Tell one that is over already."""
        self._on_incident(Incident(device=self._device, kind=kind.value, detail=detail, at=at, outcome=outcome))

    def end(self, *, from_journal: bool) -> None:
        """The batch was answered."""
        if from_journal:
            for trouble in self._open:
                trouble.outcome = trouble.outcome or (FROM_JOURNAL if trouble.was_sent else SENT_AGAIN)
        self._settle()
        self._tell()

    def give_up(self, why: str, *, at: datetime) -> None:
        """The device is lost."""
        self._settle()
        self._tell()
        self.note(IncidentKind.LOST, why, GIVEN_UP, at=at)

    def stop(self) -> None:
        """We hung up ourselves, so nobody will hear what comes of the batch."""
        for trouble in self._open:
            trouble.outcome = trouble.outcome or STOPPED
        self._tell()

    def _settle(self) -> None:
        for trouble in self._open:
            if trouble.outcome is None:
                measured_anew = MEASURED_ANEW if trouble.was_sent else SENT_AGAIN
                trouble.outcome = WENT_ON if trouble.lease_kept and trouble.was_sent else measured_anew

    def _tell(self) -> None:
        for trouble in self._open:
            assert trouble.outcome is not None
            self.note(trouble.kind, trouble.detail, trouble.outcome, at=trouble.at)
        self._open.clear()


class _Open:
    def __init__(self, kind: IncidentKind, detail: str, at: datetime, *, was_sent: bool, lease_kept: bool) -> None:
        self.kind = kind
        self.detail = detail
        self.at = at
        self.was_sent = was_sent
        self.lease_kept = lease_kept
        self.outcome: str | None = None


def now() -> datetime:
    return datetime.now(timezone.utc)
