"""Boards measure what is made while the host scores it, and nobody can tell from the rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.config import StudyConfig
from edgepareto.host.domain import (
    Activity,
    AnchorBaseline,
    Batch,
    BatchEntry,
    DeviceName,
    DeviceProgress,
    Status,
    StudyFronts,
    StudyNotice,
)
from edgepareto.host.errors import DeviceLost, Failed
from edgepareto.host.study import run_study
from edgepareto.host.study.pipeline import LOOK_EVERY_S, Follow, pipelined, serially
from fakes.fake_fleet import FakeDevice, connecting

if TYPE_CHECKING:
    from conftest import Bench

# Which candidates it fails for is a matter of their outputs alone; the unpruned model is none of them.
# Not on the 100 test samples, which only members of the front meet.
FLAKY_METRIC = """
def score(predict, dataset):
    outputs = predict(dataset.feed(slice(0, 50)))
    if len(dataset) > 100 and int(1e4 * abs(float(outputs.sum()))) % 3 == 0:
        raise ValueError("a candidate that cannot be scored")
    return float((predict(dataset.feed(slice(None))).argmax(axis=1) == dataset.labels).mean())
"""
# The unpruned model is scored first and alone; nothing else before a board has begun its second batch.
PATIENT_METRIC = """
import threading
from pathlib import Path

def score(predict, dataset):
    first, signal = Path({first!r}), Path({signal!r})
    if first.exists():
        for _ in range(3000):
            if signal.exists():
                break
            threading.Event().wait(0.01)
        else:
            raise ValueError("no board measures while the host scores")
    first.touch()
    return 0.5
"""
DYING_METRIC = """
import os
from pathlib import Path

def score(predict, dataset):
    first = Path({first!r})
    if first.exists():
        os._exit(3)
    first.touch()
    return 0.5
"""


def own_metric(bench: Bench, name: str, text: str) -> str:
    (bench.config.folder / f"{name}.py").write_text(text)
    return f"{name}:score"


def rows(config: StudyConfig) -> dict[str, list[tuple[object, ...]]]:
    """Every row that must not depend on timing; request keys carry the study's own random id."""
    queries = {
        "candidates": "SELECT * FROM candidates ORDER BY id",
        "routes": "SELECT * FROM routes ORDER BY device, generation, candidate",
        "generations": "SELECT * FROM generations ORDER BY device, generation",
        "traces": "SELECT device, phase, round, number, position, candidate, status, data "
        "FROM traces JOIN batches USING (request_key) ORDER BY device, number, position",
    }
    with sqlite3.connect(config.study / "study.sqlite") as file:
        return {table: file.execute(query).fetchall() for table, query in queries.items()}


def stop(batch: Batch) -> None:
    raise KeyboardInterrupt


def test_a_study_run_one_after_the_other_pipelined_or_in_pieces_has_the_same_rows(bench: Bench) -> None:
    metric = own_metric(bench, "flaky_metric", FLAKY_METRIC)

    def config(name: str, workers: int) -> StudyConfig:
        changed = bench.but("pi1", "jetson2", metric=metric, workers=workers)
        return replace(changed, study=bench.config.study.with_name(name))

    def run(config: StudyConfig, follow: Follow, stop_after: int | None = None, resume: bool = False) -> StudyFronts:
        pi, jetson = FakeDevice(name="pi1"), FakeDevice(name="jetson2", speed=5e6)
        if stop_after is not None:
            pi.on_batch = lambda batch: stop(batch) if len(pi.asked) > stop_after else None
        return run_study(
            config, resume=resume, listener=bench.events.append, connect=connecting(pi, jetson), follow=follow
        )

    serial, whole, pieces = config("serial", 1), config("whole", 3), config("pieces", 2)
    expected = run(serial, serially)
    assert run(whole, pipelined).devices == expected.devices
    for batches in (0, 2):
        with pytest.raises(KeyboardInterrupt):
            run(pieces, pipelined, stop_after=batches, resume=batches > 0)
    assert run(pieces, pipelined, resume=True).devices == expected.devices
    assert rows(whole) == rows(serial)
    assert rows(pieces) == rows(serial)

    # Generation 0 is measured without waiting for scores: those that could not be scored were measured all the same.
    # Later ones wait, and what has no score is not worth a board's time.
    failed = {row[0] for row in rows(serial)["candidates"] if "cannot be scored" in str(row)}
    measured = {(row[2], row[5]) for row in rows(serial)["traces"] if row[1] == "search"}
    assert failed & {name for generation, name in measured if generation == 0}
    assert failed - {name for _, name in measured}
    assert not failed & {name for generation, name in measured if generation > 0}
    shown = {p.candidate.id for d in expected.devices for p in (*d.front, *d.others)}
    assert not failed & shown


def test_a_board_measures_while_the_host_scores(bench: Bench, tmp_path: Path) -> None:
    signal = tmp_path / "second-batch"
    metric = own_metric(
        bench, "patient_metric", PATIENT_METRIC.format(first=str(tmp_path / "first"), signal=str(signal))
    )
    device = FakeDevice(name="pi1")
    device.on_batch = lambda batch: signal.touch() if len(device.asked) == 2 else None
    (front,) = run_study(
        bench.but(metric=metric), resume=False, listener=bench.events.append, connect=connecting(device)
    ).devices
    assert front.complete
    assert not [row for row in rows(bench.config)["candidates"] if "no board measures" in str(row)]


def test_a_board_that_gets_on_no_further_holds_up_neither_the_others_generations_nor_their_fronts(bench: Bench) -> None:
    others_are_done = Event()

    def note(event: DeviceProgress | StudyNotice) -> None:
        bench.events.append(event)
        again = {e.device for e in bench.events if isinstance(e, DeviceProgress) and e.activity is Activity.REMEASURING}
        if isinstance(event, DeviceProgress) and event.activity is Activity.WAITING and "jetson2" in again:
            others_are_done.set()

    def vanish(batch: Batch) -> None:
        if len(slow.asked) == 2:
            assert others_are_done.wait(60), "a generation waited for another board's"

    slow, other = FakeDevice(name="pi1"), FakeDevice(name="jetson2")
    slow.on_batch = vanish
    fronts = run_study(bench.but("pi1", "jetson2"), resume=False, listener=note, connect=connecting(slow, other))
    assert [front.complete for front in fronts.devices] == [True, True]

    alone = replace(bench.but("pi1", "jetson2"), study=bench.config.study.with_name("undisturbed"))
    undisturbed = connecting(FakeDevice(name="pi1"), FakeDevice(name="jetson2"))
    assert run_study(alone, resume=False, listener=note, connect=undisturbed).devices == fronts.devices
    assert rows(bench.config) == rows(alone)


def test_who_measures_alone_waits_for_no_board_that_is_looked_for(bench: Bench) -> None:
    gone, local = FakeDevice(name="pi1", simulated=False), FakeDevice(name="local", shares_host_cores=True)
    local_measured = Event()

    def vanish(batch: Batch) -> None:
        if len(gone.asked) == 1:
            gone.is_looked_for = True
            assert local_measured.wait(60), "a board that is looked for held up another"
            gone.is_looked_for = False

    gone.on_batch = vanish
    local.on_batch = lambda batch: local_measured.set()
    config = bench.but("pi1", "local", measurements=8)
    run_study(config, resume=False, listener=bench.events.append, connect=connecting(gone, local))
    progress = [event for event in bench.events if isinstance(event, DeviceProgress)]
    assert {event.device for event in progress if event.activity is Activity.DONE} == {"pi1", "local"}


def test_who_measures_alone_waits_for_a_simulated_board_that_would_compute_here_when_it_is_back(bench: Bench) -> None:
    gone, local = FakeDevice(name="pi1"), FakeDevice(name="local", shares_host_cores=True)
    local_began = Event()

    def vanish(batch: Batch) -> None:
        if len(gone.asked) == 1:
            gone.is_looked_for = True
            assert not local_began.wait(2 * LOOK_EVERY_S)
            gone.is_looked_for = False

    gone.on_batch = vanish
    local.on_batch = lambda batch: local_began.set()
    config = bench.but("pi1", "local", measurements=8)
    run_study(config, resume=False, listener=bench.events.append, connect=connecting(gone, local))
    assert local_began.is_set()


def test_a_preparer_that_dies_ends_the_search_at_once_though_a_board_is_measuring(bench: Bench, tmp_path: Path) -> None:
    dies = DYING_METRIC.format(first=str(tmp_path / "first"))
    hung_up = Event()

    class Board(FakeDevice):
        """Measures until the connection is closed."""

        def profile(self, batch: Batch, *listeners: object):
            assert hung_up.wait(60), "nobody ended the search"
            raise DeviceLost("the connection was closed")

    device = Board(name="pi1")

    @contextmanager
    def connect(
        configs: object, *, owner: str, state: Path, **waiting: object
    ) -> Iterator[dict[DeviceName, FakeDevice]]:
        try:
            yield {DeviceName("pi1"): device}
        finally:
            hung_up.set()

    with pytest.raises(Failed, match=r"a process that prepares candidates ended \(exit code 3\); go on with --resume"):
        run_study(
            bench.but(metric=own_metric(bench, "dying_metric", dies)),
            resume=False,
            listener=bench.events.append,
            connect=connect,
        )


def test_the_agent_is_told_the_same_of_the_anchor_when_a_study_is_resumed(bench: Bench) -> None:
    def run(study: str, device: FakeDevice, *, resume: bool) -> None:
        config = replace(bench.config, study=bench.config.study.with_name(study))
        run_study(config, resume=resume, listener=bench.events.append, connect=connecting(device))

    def told(*devices: FakeDevice) -> list[AnchorBaseline | None]:
        return [batch.anchor_baseline for device in devices for batch in device.asked]

    whole, first, second = (FakeDevice(name="pi1") for _ in range(3))
    run("whole", whole, resume=False)
    first.on_batch = lambda batch: stop(batch) if len(first.asked) > 4 else None
    with pytest.raises(KeyboardInterrupt):
        run("pieces", first, resume=False)
    first.asked.pop()  # the batch in which it was stopped is asked for again
    run("pieces", second, resume=True)
    assert told(first, second) == told(whole)
    assert [baseline is None for baseline in told(whole)[:4]] == [True, True, True, False]
    assert len(set(told(whole)[3:])) == 1


def test_a_board_whose_batch_is_void_three_times_is_lost_and_its_candidates_are_not(bench: Bench) -> None:
    config = bench.but("pi1", "jetson2")

    def throttling(times: int, begin: int = 2) -> FakeDevice:
        device = FakeDevice(name="pi1")

        def trouble(entry: BatchEntry) -> Status | None:
            return Status.THROTTLED if begin < len(device.asked) <= begin + times else None

        device.trouble = trouble
        return device

    def run(device: FakeDevice, *, resume: bool) -> StudyFronts:
        bench.events.clear()
        other = FakeDevice(name="jetson2")
        return run_study(config, resume=resume, listener=bench.events.append, connect=connecting(device, other))

    hot = throttling(times=99)
    lost, other = run(hot, resume=False).devices
    assert len(hot.asked) == 2 + 3
    assert (lost.complete, other.complete) == (False, True)
    assert lost.measured == len({e.candidate for b in hot.asked[:2] for e in (b.anchor, *b.entries)})
    assert "3 batches in a row are void: THROTTLED as the test says; cool it" in str(lost.incomplete_reason)
    assert any("go on with --resume" in text for text in bench.warnings())
    assert sum("void and measured again: THROTTLED as the test says" in text for text in bench.warnings()) == 2
    last = [e for e in bench.events if isinstance(e, DeviceProgress) and e.device == "pi1"][-1]
    assert last.activity is Activity.LOST

    # The voids of an earlier run do not count in this one, however many there are.
    again = throttling(times=2, begin=0)
    back, _ = run(again, resume=True).devices
    assert back.complete
    assert back.measured == 18
    tried = {e.candidate for e in hot.asked[-1].entries}
    assert tried == {e.candidate for e in again.asked[2].entries}
    assert tried <= {point.candidate.id for point in (*back.front, *back.others)}
    assert {e.attempt for e in again.asked[2].entries} == {5}


def test_a_candidate_that_does_not_fit_is_not_measured_again_with_a_batch_that_is_void(bench: Bench) -> None:
    device = FakeDevice(name="pi1")

    def trouble(entry: BatchEntry) -> Status | None:
        if len(device.asked) != 2:
            return None
        return Status.OOM if entry is device.asked[1].entries[0] else Status.TOO_HOT

    device.trouble = trouble
    (front,) = run_study(bench.config, resume=False, listener=bench.events.append, connect=connecting(device)).devices
    void, redone = device.asked[1:3]
    assert [e.candidate for e in redone.entries] == [e.candidate for e in void.entries[1:]]
    assert front.complete
    assert void.entries[0].candidate not in {point.candidate.id for point in (*front.front, *front.others)}


def test_progress_tells_stage_utilisation_and_what_is_left(bench: Bench) -> None:
    run_study(bench.config, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1")))
    progress = [event for event in bench.events if isinstance(event, DeviceProgress)]
    assert progress[0].utilisation is None
    measuring = [event for event in progress if event.activity is Activity.MEASURING]
    assert {event.detail for event in measuring} == {"latency"}
    assert all(event.utilisation is not None and 0 < event.utilisation <= 1 for event in measuring)
    assert measuring[0].left_s is None
    assert all(event.left_s is not None for event in measuring[1:])
    assert progress[-1].activity is Activity.DONE
    assert progress[-1].left_s is None
    assert not [event for event in bench.events if isinstance(event, StudyNotice) and "void" in event.text]
    # Nobody counts as failed whose score is still to come.
    assert all(event.failed == 0 for event in progress)


def test_without_a_budget_to_count_by_no_time_is_promised(bench: Bench) -> None:
    unlimited = bench.but(measurements=None, minutes=0.05)
    run_study(unlimited, resume=False, listener=bench.events.append, connect=connecting(FakeDevice(name="pi1")))
    by_clock = [e.left_s for e in bench.events if isinstance(e, DeviceProgress) and e.left_s is not None]
    assert by_clock
    assert max(by_clock) <= 3
    assert by_clock == sorted(by_clock, reverse=True)
