"""What came of each trouble of a batch, told once it is known."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from edgepareto.host.domain import DeviceName
from edgepareto.host.domain.incident import Incident
from edgepareto.host.fleet.troubles import (
    FROM_JOURNAL,
    GIVEN_UP,
    MEASURED_ANEW,
    SENT_AGAIN,
    STOPPED,
    WENT_ON,
    IncidentKind,
    Troubles,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
CUT, RESTARTED = IncidentKind.CONNECTION_CUT, IncidentKind.AGENT_RESTARTED


@pytest.fixture
def told() -> list[Incident]:
    return []


@pytest.fixture
def troubles(told: list[Incident]) -> Troubles:
    return Troubles(DeviceName("pi1"), told.append)


@pytest.mark.parametrize(
    ("was_sent", "lease_kept", "from_journal", "outcome"),
    [
        (False, True, False, SENT_AGAIN),
        (False, False, False, SENT_AGAIN),
        (True, True, False, WENT_ON),
        (True, False, False, MEASURED_ANEW),
        (True, True, True, FROM_JOURNAL),
        (True, False, True, FROM_JOURNAL),
        (False, False, True, SENT_AGAIN),
    ],
)
def test_the_outcome_of_one_trouble(
    troubles: Troubles, told: list[Incident], was_sent: bool, lease_kept: bool, from_journal: bool, outcome: str
):
    if was_sent:
        troubles.send()
    troubles.add(CUT, "cut", at=NOON, lease_kept=lease_kept)
    assert told == []
    troubles.send()
    troubles.end(from_journal=from_journal)
    assert told == [Incident(device=DeviceName("pi1"), kind="connection-cut", detail="cut", at=NOON, outcome=outcome)]


def test_a_cut_before_the_batch_began_anew_does_not_count_it_as_measured_twice(
    troubles: Troubles, told: list[Incident]
):
    """The agent died with the batch in its journal, and the connection was cut once more on the way to hearing so."""
    troubles.send()
    troubles.add(RESTARTED, "started anew", at=NOON)
    troubles.send()
    troubles.add(CUT, "cut", at=NOON, lease_kept=True)
    troubles.send()
    troubles.end(from_journal=True)
    assert [incident.outcome for incident in told] == [FROM_JOURNAL, FROM_JOURNAL]


def test_every_measurement_but_the_last_stands_in_an_incident(troubles: Troubles, told: list[Incident]):
    for _ in range(3):
        troubles.send()
        troubles.step("latency 1/5")
        troubles.add(RESTARTED, "started anew", at=NOON)
    troubles.send()
    troubles.step("latency 1/5")
    troubles.end(from_journal=True)  # the fourth finished just as the connection was cut
    assert [incident.outcome for incident in told] == [MEASURED_ANEW, MEASURED_ANEW, FROM_JOURNAL]


def test_a_device_that_is_given_up_is_an_incident_of_its_own(troubles: Troubles, told: list[Incident]):
    troubles.send()
    troubles.step("latency 1/5")
    troubles.add(RESTARTED, "started anew", at=NOON)
    troubles.send()
    troubles.give_up("gone", at=NOON)
    assert [(incident.kind, incident.detail, incident.outcome) for incident in told] == [
        ("agent-restarted", "started anew", MEASURED_ANEW),
        ("lost", "gone", GIVEN_UP),
    ]


def test_a_batch_that_is_refused_for_its_lease_before_any_step_was_not_measured(
    troubles: Troubles, told: list[Incident]
):
    """As after this machine slept between two batches."""
    troubles.send()
    troubles.add(IncidentKind.LEASE_LOST, "expired", at=NOON)
    troubles.send()
    troubles.step("latency 1/5")
    troubles.add(IncidentKind.LEASE_LOST, "expired", at=NOON)
    troubles.send()
    troubles.add(CUT, "cut", at=NOON, lease_kept=True)
    troubles.add(IncidentKind.LEASE_LOST, "expired on the way", at=NOON)
    troubles.send()
    troubles.end(from_journal=False)
    assert [incident.outcome for incident in told] == [SENT_AGAIN, MEASURED_ANEW, WENT_ON, MEASURED_ANEW]


def test_a_batch_gets_on_by_steps_that_are_new_so_that_cuts_have_an_end(troubles: Troubles):
    def cut_after(*steps: str, lease_kept: bool = True) -> bool:
        troubles.send()
        for words in steps:
            troubles.step(words)
        got_on = troubles.got_on
        troubles.add(CUT, "cut", at=NOON, lease_kept=lease_kept)
        return got_on

    assert cut_after("load 1/2", "latency 1/2")
    assert cut_after("latency 1/2", "latency 2/2")
    assert not cut_after("load 1/2", "latency 1/2")
    assert not cut_after(lease_kept=False)
    assert cut_after("load 1/2")  # of a batch that was begun anew


def test_who_stops_in_the_middle_keeps_what_had_befallen_the_board(troubles: Troubles, told: list[Incident]):
    troubles.send()
    troubles.add(CUT, "cut", at=NOON)
    troubles.stop()
    assert [incident.outcome for incident in told] == [STOPPED]
