"""What befell a board, in one line: each incident where they are few, how many of a kind where they are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from edgepareto.host.domain.incident import Incident

__all__ = ["incident_text", "incidents_text"]

MOST_TOLD = 3  # then they are grouped


def incident_text(incident: Incident) -> str:
    """`14:03 the connection was cut for 5 s in batch 12, sent again`: the user's own time, the day where it is past."""
    return f"{_time(incident.at)} {incident.detail}, {incident.outcome}"


def incidents_text(incidents: Sequence[Incident]) -> str:
    """At least one, of one device."""
    count = f"{len(incidents)} incident{'' if len(incidents) == 1 else 's'}"
    if len(incidents) <= MOST_TOLD:
        return f"{count}: {'; '.join(map(incident_text, incidents))}"
    kinds = Counter(incident.kind.replace("-", " ").replace("_", " ") for incident in incidents)
    grouped = ", ".join(f"{kind} {number}x" for kind, number in kinds.most_common())
    return f"{count} since {_time(incidents[0].at)}: {grouped}; the last: {incident_text(incidents[-1])}"


def _time(at: datetime) -> str:
    local = at.astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M" if is_today else "%d %b %H:%M")
