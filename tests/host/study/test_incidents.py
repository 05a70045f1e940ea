"""Boards in trouble: what befell them is kept, a board that is nothing but trouble is given up for this run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.domain import Batch, DeviceName, Incident, Job, ProfileTrace, StudyFronts, StudyNotice
from edgepareto.host.errors import Failed
from edgepareto.host.study import read_fronts, remeasure, run_study
from edgepareto.host.study.device_health import DeviceHealth
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench

PI = DeviceName("pi1")
NOON = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)


def cut(number: int) -> Incident:
    return Incident(
        device=PI,
        kind="connection-cut",
        detail=f"the connection was cut for 5 s in batch {number}",
        at=NOON + timedelta(minutes=number),
        outcome="sent again",
    )


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> DeviceHealth:
    return DeviceHealth(PI, keep=lambda incident: None, now_s=clock)


def test_five_batches_in_trouble_in_a_row_are_too_many_and_one_good_one_forgives_four(health: DeviceHealth) -> None:
    def batch(*incidents: Incident, fault: Job | None = None) -> str | None:
        for incident in incidents:
            health.incident(incident)
        return health.batch_ended(fault)

    assert [batch(cut(number)) for number in range(4)] == [None] * 4
    assert batch() is None
    assert [batch(cut(number)) for number in range(5, 9)] == [None] * 4
    reason = batch(cut(9))
    assert reason is not None
    assert reason.startswith("pi1: quarantined after 9 incidents, 5 batches in a row were in trouble: the last: ")
    assert "the connection was cut for 5 s in batch 9, sent again" in reason


def test_ten_incidents_in_an_hour_are_borne_and_the_eleventh_is_not(health: DeviceHealth, clock: Clock) -> None:
    for number in range(10):  # an hour and more apart
        clock.now_s += 3601
        health.incident(cut(number))
        health.batch_ended(None)
        assert health.batch_ended(None) is None
    clock.now_s += 3601
    for number in range(10):
        health.incident(cut(number))
    assert health.batch_ended(None) is None
    health.incident(cut(10))
    assert "quarantined after 21 incidents, 11 of them within an hour" in str(health.batch_ended(None))


def test_incidents_are_kept_and_told_and_change_no_number(bench: Bench) -> None:
    quiet = replace(bench.but("pi1"), study=bench.config.study.with_name("quiet"))
    whole = run_study(quiet, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1")))
    bench.events.clear()
    troubled = FakeDevice(name="pi1", incidents={1: (cut(1),), 3: (cut(3), cut(4))})
    fronts = run_study(bench.config, resume=False, listener=bench.events.append, connect=connecting(troubled))
    told = [event for event in bench.events if isinstance(event, StudyNotice) and "was cut" in event.text]
    assert told[0].text == "pi1: the connection was cut for 5 s in batch 1, sent again"
    assert not any(event.is_warning for event in told)

    def without_incidents(fronts: StudyFronts) -> list[object]:
        return [replace(front, incidents=()) for front in fronts.devices]

    (front,) = fronts.devices
    assert front.complete
    assert front.incidents == (cut(1), cut(3), cut(4))
    assert without_incidents(fronts) == without_incidents(whole)

    # Replayed with more to measure: nothing befalls anyone twice.
    longer = bench.but(measurements=23)
    again = run_study(longer, resume=True, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1")))
    assert again.devices[0].incidents == front.incidents


def test_a_quarantined_board_keeps_its_front_costs_the_others_nothing_and_is_tried_again(bench: Bench) -> None:
    config = bench.but("pi1", "jetson2", measurements=36)
    shaky = FakeDevice(name="pi1", incidents={number: (cut(number),) for number in range(99)})
    fronts = run_study(
        config, resume=False, listener=bench.events.append, connect=connecting(shaky, FakeDevice(name="jetson2"))
    )
    lost, other = fronts.devices
    assert len(shaky.asked) == 5
    assert (lost.complete, other.complete) == (False, True)
    assert lost.front
    assert str(lost.incomplete_reason).startswith("pi1: quarantined after 5 incidents")
    assert any("quarantined" in text and "its front is kept, go on with --resume" in text for text in bench.warnings())

    # Counted anew: four more in a row are borne.
    better = FakeDevice(name="pi1", incidents={number: (cut(number),) for number in range(4)})
    back, same = run_study(
        config, resume=True, listener=bench.events.append, connect=connecting(better, FakeDevice(name="jetson2"))
    ).devices
    assert back.complete
    assert len(back.incidents) == 9
    assert same == other
    assert {b.request_key for b in better.asked}.isdisjoint({b.request_key for b in shaky.asked})

    alone = replace(bench.but("pi1"), study=bench.config.study.with_name("alone"))
    bad = FakeDevice(name="pi1", incidents={0: tuple(map(cut, range(11)))})
    with pytest.raises(Failed, match="every device was lost: pi1: quarantined after 11 incidents, 11 of them within"):
        run_study(alone, resume=False, listener=bench.events.append, connect=connecting(bad))
    assert len(bad.asked) == 1


def test_a_board_that_reboots_into_another_release_goes_on_and_resumes_to_the_same(bench: Bench) -> None:
    def boots(number: int) -> tuple[str, str]:
        return ("first", "1.0") if number < 6 else ("second", "1.1")

    def search(study: str, device: FakeDevice, *, resume: bool = False) -> StudyFronts:
        config = replace(bench.but(measurements=40), study=bench.config.study.with_name(study))
        return run_study(config, resume=resume, listener=bench.events.append, connect=connecting(device))

    def stop(batch: Batch) -> None:
        if len(first.asked) > 6:
            raise KeyboardInterrupt

    whole = FakeDevice(name="pi1", boots=boots)
    fronts = search("whole", whole)
    (front,) = fronts.devices
    assert front.complete
    # Never compared with the level of another boot: each has a baseline once three of its own batches are known.
    known = [batch.anchor_baseline and batch.anchor_baseline.boot_id for batch in whole.asked]
    assert known[:6] == [None, None, None, "first", "first", "first"]
    assert known[6:8] == [None, None]
    assert set(known[8:]) <= {"second"}
    assert front.dense.circumstances is not None
    assert front.dense.circumstances.boots == 2
    assert front.dense.circumstances.agents == ("1.0", "1.1")

    first = FakeDevice(name="pi1", boots=boots, on_batch=stop)
    with pytest.raises(KeyboardInterrupt):
        search("pieces", first)
    second = FakeDevice(name="pi1", boots=lambda number: ("second", "1.1"))
    (again,) = search("pieces", second, resume=True).devices
    assert again.front == front.front
    asked = [batch.anchor_baseline for device in (first, second) for batch in device.asked]
    del asked[6]  # the batch in which it was stopped was asked for twice
    assert asked == [batch.anchor_baseline for batch in whole.asked]


def test_a_board_in_trouble_while_it_is_remeasured_tells_it_and_is_given_up_alike(bench: Bench) -> None:
    run_study(bench.config, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1")))
    told: list[str] = []
    board = FakeDevice(name="pi1", incidents={0: tuple(map(cut, range(11)))})
    plain = board.profile

    def vanishing(
        batch: Batch, on_progress: Callable[[str], None], on_incident: Callable[[Incident], None]
    ) -> tuple[ProfileTrace, ...]:
        board.is_looked_for = True
        for text in ("does not answer", "gone for 1 s", "gone for 3 s"):
            on_progress(text)
        board.is_looked_for = False
        return plain(batch, on_progress, on_incident)

    board.profile = vanishing
    (found,) = remeasure(
        bench.config.study,
        device=None,
        candidates=(),
        preset=None,
        known=(),
        folder=bench.config.folder,
        listener=lambda notice: told.append(notice.text),
        connect=connecting(board),
    )
    assert "quarantined after 11 incidents" in str(found.lost)
    assert [text for text in told if "answer" in text or "gone" in text] == ["pi1: does not answer, and is looked for"]
    assert "pi1: the connection was cut for 5 s in batch 10, sent again" in told
    assert len(read_fronts(bench.config.study).devices[0].incidents) == 11
