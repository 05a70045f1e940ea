"""The promises of a study's file: all or nothing, one writer, and one clear line where it cannot be used."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from edgepareto.host.config import DataConfig, DeviceConfig, SearchConfig
from edgepareto.host.domain import (
    Candidate,
    CandidateId,
    Conditions,
    Constraints,
    Deployment,
    DeviceInfo,
    DeviceName,
    Genome,
    Incident,
    LatencyBlock,
    Meter,
    MeterQuality,
    MeterStatus,
    ProfileTrace,
    Purpose,
    Recipe,
    RuntimeVersion,
    Status,
)
from edgepareto.host.errors import StoreError, StudyError
from edgepareto.host.store import BatchRecord, DeviceRecord, DeviceState, Phase, StudyIdentity, StudyStore

PI = DeviceName("pi1")
IDENTITY = StudyIdentity(
    id="0123",
    model="/models/net.onnx",
    model_sha256="a" * 64,
    calibration_sha256="b" * 64,
    validation_sha256="c" * 64,
    test_sha256=None,
    data=DataConfig(calibration="c.npz", scale=1 / 255, shapes=(("x", (1, 3, 8, 8)),)),
    search=SearchConfig(seed=4, constraints=Constraints(min_accuracy=0.9)),
    libraries=(("pymoo", "0.6.2"),),
)
DEVICE = DeviceRecord(
    config=DeviceConfig(
        name="pi1",
        simulate="raspberry-pi-4b",
        faults=("drift",),
        clock_modes=("15W", "7W"),
        ssh_key=Path("/home/ann/.ssh/pi"),
        trust=Path("/home/ann/bob.pem"),
        origin=Path("/home/ann/devices.toml"),
        overridden_by=Path("/home/ann/edgepareto.toml"),
    ),
    info=DeviceInfo(
        name=PI,
        agent_version="0",
        board_id="b",
        boot_id="b",
        board="raspberry-pi-4b",
        simulated=True,
        architecture="aarch64",
        os="Linux",
        cpu_count=4,
        memory_bytes=1,
        runtimes=(RuntimeVersion(name="onnxruntime", version="1", providers=("CPUExecutionProvider",)),),
        meter=Meter(kind="ina219", quality=MeterQuality.SIMULATED, address=0x40),
        default_threads=1,
        shares_host_cores=False,
    ),
    has_energy=True,
    state=DeviceState.LOST,
    reason="no answer",
)


def trace(candidate: str, runs: int = 3) -> ProfileTrace:
    run_ns = tuple(np.random.default_rng(0).integers(0, 10**9, runs).tolist())
    return ProfileTrace(
        candidate=CandidateId(candidate),
        device=PI,
        job_id="j",
        purpose=Purpose.SEARCH,
        attempt=0,
        is_anchor=candidate == "dense",
        model_sha256="",
        status=Status.OK,
        message="",
        tags=frozenset({"NOT_CONVERGED"}),
        preset="quick",
        board_id="b",
        boot_id="b",
        agent_version="0",
        simulated=True,
        order_seed=1,
        runtime=None,
        load_ns=None,
        first_run_ns=None,
        output_error=None,
        blocks=(LatencyBlock(round=0, position=0, start_ns=0, run_ns=run_ns),),
        meter_status=MeterStatus.ABSENT,
        meter=None,
        windows=(),
        before=Conditions(),
        after=Conditions(),
        peak_rss_bytes=None,
    )


def batch(number: int, phase: Phase = Phase.SEARCH, key: str | None = None) -> BatchRecord:
    return BatchRecord(
        request_key=key or f"key {number}",
        device=PI,
        phase=phase,
        round=0,
        number=number,
        traces=(trace("dense"), trace("b"), trace("a")),
    )


def test_everything_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    scored = Candidate(
        id=CandidateId("a"),
        genome=Genome(widths=(8, 16)),
        recipe=Recipe(images=128),
        accuracy=0.1 + 0.2,
        macs=3,
        parameters=4,
        bytes=5,
        model_sha256="f",
        validation_hits=b"\x03\0\0\0\xa0",
        divergence=0.1 / 3,
    )
    shorter = Genome(widths=(8, 8), dropped=("layer1.0", "layer2.1"))
    failed = Candidate(id=CandidateId("b"), genome=shorter, recipe=Recipe(), failure="singular")
    asked = (Genome(widths=(8, 16)), shorter, replace(shorter, deployment=Deployment(threads=2)))
    with StudyStore.open_for_search(tmp_path / "new" / "study") as store:
        store.save_identity(IDENTITY)
        store.save_devices(DEVICE)
        store.save_candidate(scored)
        store.save_candidate(failed)
        store.save_candidate(replace(scored, test_accuracy=0.5, test_hits=b"\x01\0\0\0\x80"))
        store.save_generation(PI, 0, asked)
        store.save_batch(batch(0), elapsed_s=1.5)
        store.save_note(PI, "no meter")
        store.save_note(PI, "no meter")
    with StudyStore.open_for_reading(tmp_path / "new" / "study") as store:
        assert store.identity() == IDENTITY
        assert store.devices() == (DEVICE,)
        assert store.candidates() == {
            "a": replace(scored, test_accuracy=0.5, test_hits=b"\x01\0\0\0\x80"),
            "b": failed,
        }
        assert store.generation(PI, 0) == asked
        assert store.generation(PI, 1) is None
        assert store.batch("key 0") == batch(0)
        assert store.batch("key 1") is None
        assert tuple(store.batches(PI)) == (batch(0),)
        assert store.meta("elapsed_s") == "1.5"
        assert store.notes(PI) == ("no meter",)


def test_one_path_of_batches_counts_and_a_path_that_was_left_is_taken_again(tmp_path: Path) -> None:
    def counting() -> list[str]:
        return [found.request_key for found in store.batches(PI)]

    with StudyStore.open_for_search(tmp_path) as store:
        for number, phase in enumerate([Phase.SEARCH, Phase.SEARCH, Phase.END, Phase.END]):
            store.save_batch(batch(number, phase), elapsed_s=0)
        store.save_batch(batch(1, key="other"), elapsed_s=0)
        assert counting() == ["key 0", "other"]
        assert store.batch("key 1") == batch(1)
        assert counting() == ["key 0", "key 1"]
        assert store.batch("key 2") == batch(2, Phase.END)
        assert counting() == ["key 0", "key 1", "key 2"]
        assert store.batch("other") is not None
        assert counting() == ["key 0", "other"]


def test_notes_are_of_the_run_that_said_them(tmp_path: Path) -> None:
    jetson = replace(DEVICE, info=replace(DEVICE.info, name=DeviceName("jetson2")))
    with StudyStore.open_for_search(tmp_path) as store:
        for record in (DEVICE, jetson):
            store.save_note(record.name, "the front was not yet stable")
            store.save_devices(record)
        assert store.notes(PI)
        store.save_devices(replace(DEVICE, state=DeviceState.RUNNING))
        assert store.notes(PI) == ()
        assert store.notes(jetson.name)


def test_a_device_is_complete_for_the_budgets_that_it_was_completed_with() -> None:
    done = DeviceRecord.from_json(DEVICE.completed(SearchConfig(measurements=7)).to_json())
    assert done.reason is None
    assert done.is_complete(SearchConfig(measurements=7, workers=3))
    assert not done.is_complete(SearchConfig(measurements=8))
    assert not DEVICE.is_complete(SearchConfig(measurements=7))


def test_only_budgets_may_differ_between_two_runs_of_a_study() -> None:
    longer = IDENTITY.with_budgets_of(SearchConfig(measurements=7, minutes=1, generations=2, workers=1))
    assert longer != IDENTITY
    assert IDENTITY.differences(longer) == []
    other = replace(IDENTITY, search=replace(IDENTITY.search, algorithm="spea2"), validation_sha256="d")
    assert IDENTITY.differences(other) == [
        f"validation data (sha256): {'c' * 64}, d",
        "algorithm: surrogate, spea2",
    ]


def test_a_full_disk_is_one_line_and_loses_no_finished_batch(tmp_path: Path) -> None:
    big = replace(batch(1), traces=(trace("dense", runs=200_000),))
    with StudyStore.open_for_search(tmp_path) as store:
        store.save_batch(batch(0), elapsed_s=0)
        store._connection.execute("PRAGMA max_page_count = 1")  # SQLite then says what a full disk says
        with pytest.raises(StoreError, match=r"^.*: database or disk is full; free some space.*--resume.*$"):
            store.save_batch(big, elapsed_s=0)
        store._connection.execute("PRAGMA max_page_count = 100000")
        assert tuple(store.batches(PI)) == (batch(0),)
        store.save_batch(big, elapsed_s=0)
        assert len(tuple(store.batches(PI))) == 2


HOLDER = """
import sys, time
from pathlib import Path
from edgepareto.host.store import StudyStore
with StudyStore.open_for_search(Path(sys.argv[1])) as store:
    store._connection.execute("BEGIN IMMEDIATE")
    store._connection.execute("INSERT INTO meta VALUES ('half', 'done')")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_by_name_until_the_first_is_gone_even_killed(tmp_path: Path) -> None:
    with StudyStore.open_for_search(tmp_path) as store:
        store.save_batch(batch(0), elapsed_s=0)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StudyError, match=rf"another host process \(pid {holder.pid}\) works on this study"):
            StudyStore.open_for_search(tmp_path).__enter__()
        with StudyStore.open_for_reading(tmp_path) as reader:
            assert len(tuple(reader.batches(PI))) == 1
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    with StudyStore.open_for_search(tmp_path) as store:
        assert store.meta("half") is None
        assert tuple(store.batches(PI)) == (batch(0),)


def test_a_newer_schema_is_refused_by_every_way_in(tmp_path: Path) -> None:
    with StudyStore.open_for_search(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "study.sqlite") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    for opened in (StudyStore.open_for_search, StudyStore.open_for_reading):
        with (
            pytest.raises(StudyError, match=r"has schema 99, this .* knows up to 8; upgrade"),
            opened(tmp_path),
        ):
            pass


SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE devices (name TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE candidates (
    id TEXT PRIMARY KEY, widths TEXT NOT NULL, criterion TEXT NOT NULL, recovery TEXT NOT NULL, images INTEGER NOT NULL,
    accuracy REAL, test_accuracy REAL, macs INTEGER, parameters INTEGER, bytes INTEGER, model_sha256 TEXT, failure TEXT
);
CREATE TABLE generations (
    device TEXT NOT NULL, generation INTEGER NOT NULL, genomes TEXT NOT NULL, PRIMARY KEY (device, generation)
);
CREATE TABLE batches (
    request_key TEXT PRIMARY KEY, device TEXT NOT NULL, phase TEXT NOT NULL, round INTEGER NOT NULL,
    number INTEGER NOT NULL, retired INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE traces (
    request_key TEXT NOT NULL REFERENCES batches, position INTEGER NOT NULL, candidate TEXT NOT NULL,
    status TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (request_key, position)
);
CREATE TABLE notes (device TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (device, text));
INSERT INTO candidates VALUES ('a', '[8, 16]', 'obs', 'ls', 512, 0.9, NULL, 3, 4, 5, 'f', NULL);
PRAGMA user_version = 1;
"""
SCHEMA_2 = f"""
{SCHEMA_1}
ALTER TABLE candidates ADD COLUMN validation_hits BLOB;
ALTER TABLE candidates ADD COLUMN test_hits BLOB;
PRAGMA user_version = 2;
"""
CUT = Incident(
    device=PI,
    kind="connection-cut",
    detail="the connection was cut for 5 s in batch 12",
    at=datetime(2026, 11, 28, 14, 3, 7, tzinfo=timezone(timedelta(hours=1))),
    outcome="sent again",
)


@pytest.mark.parametrize("schema", [SCHEMA_1, SCHEMA_2], ids=["1", "2"])
def test_a_study_of_an_older_schema_is_read_and_goes_on_with_nothing_lost(tmp_path: Path, schema: str) -> None:
    with sqlite3.connect(tmp_path / "study.sqlite") as file:
        file.executescript(schema)
    file.close()
    old = Candidate(
        id=CandidateId("a"),
        genome=Genome(widths=(8, 16)),
        recipe=Recipe(images=512),
        accuracy=0.9,
        macs=3,
        parameters=4,
        bytes=5,
        model_sha256="f",
    )
    with StudyStore.open_for_reading(tmp_path) as store:
        assert store.candidates() == {"a": old}
    with StudyStore.open_for_search(tmp_path) as store:
        store.save_candidate(replace(old, validation_hits=b"hits"))
        store.save_batch(batch(0), elapsed_s=0)
        assert store.candidates() == {"a": replace(old, validation_hits=b"hits")}
        assert tuple(store.batches(PI)) == (batch(0),)
        assert store.incidents(PI) == ()
        store.save_incident(CUT)
        assert store.incidents(PI) == (CUT,)


def test_a_study_of_before_the_images_were_a_setting_repairs_finalists_with_all_of_them_as_it_did() -> None:
    record = json.loads(IDENTITY.to_json())
    del record["search"]["search_images"], record["search"]["finalist_images"]
    older = StudyIdentity.from_json(json.dumps(record))
    assert (older.search.search_images, older.search.finalist_images) == (512, None)
    assert older.differences(IDENTITY) == ["finalist_images: all, 1024"]


def test_an_older_study_that_ran_candidates_in_litert_is_refused_rather_than_shown_without_them(tmp_path: Path) -> None:
    """Its rows do not tell which runtime a candidate ran in, and its front would be empty."""
    with sqlite3.connect(tmp_path / "study.sqlite") as file:
        file.executescript(SCHEMA_2)
        in_litert = replace(DEVICE, config=replace(DEVICE.config, runtime="litert"))
        file.execute("INSERT INTO devices VALUES (?, ?)", (in_litert.name, in_litert.to_json()))
    file.close()
    for opened in (StudyStore.open_for_search, StudyStore.open_for_reading):
        with (
            pytest.raises(StudyError, match=r"by an older edgepareto with pi1 in LiteRT.* another --study"),
            opened(tmp_path),
        ):
            pass
    with sqlite3.connect(tmp_path / "study.sqlite") as file:
        assert file.execute("PRAGMA user_version").fetchone() == (2,), "that version still reads it"
    file.close()


def test_an_incident_is_kept_at_once_whatever_becomes_of_its_batch_and_its_run(tmp_path: Path) -> None:
    with StudyStore.open_for_search(tmp_path) as store:
        store.save_devices(replace(DEVICE, state=DeviceState.RUNNING))
        store.save_incident(CUT)
        with StudyStore.open_for_reading(tmp_path) as reader:
            assert reader.incidents(PI) == (CUT,)
        store.save_incident(replace(CUT, kind="rebooted"))
        store.save_devices(replace(DEVICE, state=DeviceState.RUNNING))  # another run; notes of the last one go
    with StudyStore.open_for_reading(tmp_path) as store:
        assert [incident.kind for incident in store.incidents(PI)] == ["connection-cut", "rebooted"]
        assert store.incidents(DeviceName("jetson2")) == ()
        assert store.incidents(PI)[0].at.utcoffset() == timedelta(0)


def test_what_was_remeasured_is_on_no_path_of_the_search_and_always_counts(tmp_path: Path) -> None:
    again = batch(0, Phase.REMEASURE, key="again")
    with StudyStore.open_for_search(tmp_path) as store:
        store.save_batch(batch(0), elapsed_s=0)
        store.save_batch(again, elapsed_s=0)
        store.save_batch(batch(1), elapsed_s=0)
        assert tuple(store.batches(PI)) == (batch(0), batch(1), again)
        store.save_batch(batch(0, key="other"), elapsed_s=0)
        assert tuple(store.batches(PI)) == (batch(0, key="other"), again)
        assert store.batch("key 0") is not None
        assert tuple(store.batches(PI)) == (batch(0), again)


def test_a_damaged_trace_is_named_and_costs_no_other(tmp_path: Path) -> None:
    with StudyStore.open_for_search(tmp_path) as store:
        store.save_batch(batch(0), elapsed_s=0)
        store.save_batch(batch(1), elapsed_s=0)
    with sqlite3.connect(tmp_path / "study.sqlite") as file:
        file.execute("UPDATE traces SET data = substr(data, 1, 20) WHERE request_key = 'key 1' AND candidate = 'b'")
    file.close()
    damaged: list[str] = []
    with StudyStore.open_for_reading(tmp_path) as store:
        found = tuple(store.batches(PI, damaged.append))
        assert found == (batch(0), replace(batch(1), traces=(trace("dense"), trace("a"))))
        assert len(damaged) == 1
        with pytest.raises(StudyError, match=r"pi1, search batch 1, candidate b: a stored trace cannot be read"):
            tuple(store.batches(PI))
        assert next(store.batches(PI)) == batch(0)  # one at a time: traces are large
    assert "pi1, search batch 1, candidate b: a stored trace cannot be read" in damaged[0]


def test_what_is_no_study_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study"), StudyStore.open_for_reading(tmp_path):
        pass
    (tmp_path / "study.sqlite").write_text("something else entirely, long enough to be looked at" * 20)
    for opened in (StudyStore.open_for_search, StudyStore.open_for_reading):
        with pytest.raises(StudyError, match="is no study or is damaged"), opened(tmp_path):
            pass
