"""What befell a board, as the end report and `host front` tell it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from edgepareto.host.domain import DeviceName, Incident, StudyFronts
from edgepareto.host.views import front_json, front_tables, print_parts, write_report
from edgepareto.host.views.incidents_text import incidents_text
from fakes.fronts import study_fronts
from rich.console import Console

TODAY = datetime.now().astimezone().replace(hour=14, minute=3, second=0, microsecond=0)
CUT = Incident(
    device=DeviceName("pi1"),
    kind="connection-cut",
    detail="the connection was cut for 5 s in batch 12",
    at=TODAY,
    outcome="sent again",
)
REBOOT = replace(
    CUT,
    kind="rebooted",
    detail="the board rebooted",
    at=TODAY + timedelta(minutes=37),
    outcome="batch 20 measured again",
)
SAID = (
    "2 incidents: 14:03 the connection was cut for 5 s in batch 12, sent again; "
    "14:40 the board rebooted, batch 20 measured again"
)


def test_few_incidents_are_told_each_in_the_users_own_time():
    in_utc = [replace(incident, at=incident.at.astimezone(timezone.utc)) for incident in (CUT, REBOOT)]
    assert incidents_text(in_utc) == SAID
    old = replace(CUT, at=CUT.at - timedelta(days=30))
    day = old.at.strftime("%d %b")
    assert incidents_text([old]).startswith(f"1 incident: {day} ")


def test_many_incidents_are_counted_by_kind_and_only_the_last_is_told():
    many = [replace(CUT, at=TODAY + timedelta(minutes=minute)) for minute in range(9)]
    assert incidents_text([*many, REBOOT]) == (
        "10 incidents since 14:03: connection cut 9x, rebooted 1x; the last: 14:40 the board rebooted, "
        "batch 20 measured again"
    )


@pytest.fixture
def study() -> StudyFronts:
    first, *others = study_fronts().devices
    return replace(study_fronts(), devices=(replace(first, incidents=(CUT, REBOOT)), *others))


def test_table_page_and_json_list_a_devices_incidents_and_no_other_device_has_any(study: StudyFronts, tmp_path: Path):
    stream = io.StringIO()
    print_parts(Console(file=stream, width=200), front_tables(study))
    assert stream.getvalue().count("incident") == stream.getvalue().count(SAID) == 1
    write_report(study, tmp_path / "fronts.html")
    assert SAID in (tmp_path / "fronts.html").read_text()
    first, second = json.loads(front_json(study, str))["devices"]
    at = REBOOT.at.astimezone(timezone.utc).isoformat(timespec="seconds")
    told = {"at": at, "kind": "rebooted", "detail": "the board rebooted", "outcome": "batch 20 measured again"}
    assert first["incidents"][1] == told
    assert "incidents" not in second
