"""A finished batch is found again, whole, or is not found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from edgepareto.agent.errors import RequestError
from edgepareto.agent.result_journal import FinishedBatch, ResultJournal


def finished(key: str, size: int = 10) -> FinishedBatch:
    return FinishedBatch(request_key=key, fingerprint="f", results=(("dense", b"\n" * size), ("c0", b""), ("c1", b"x")))


def test_a_finished_batch_is_there_after_a_restart_and_only_under_its_own_key(tmp_path: Path):
    ResultJournal(tmp_path).write(finished("../study/pi1/0"))
    journal = ResultJournal(tmp_path)
    assert journal.read("../study/pi1/0", "f") == finished("../study/pi1/0")
    assert journal.read("../study/pi1/1") is None


def test_a_key_that_was_used_for_another_batch_is_refused(tmp_path: Path):
    journal = ResultJournal(tmp_path)
    journal.write(finished("k"))
    with pytest.raises(RequestError, match="request key k was used for another batch"):
        journal.read("k", "another")


@pytest.mark.parametrize("keep", [0, 5, -1])
def test_an_entry_that_the_disk_damaged_is_dropped(tmp_path: Path, keep: int):
    journal = ResultJournal(tmp_path)
    journal.write(finished("k"))
    entry = next(tmp_path.iterdir())
    entry.write_bytes(entry.read_bytes()[:keep])
    assert journal.read("k") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", [b"null", b"{}", b'{"sha256": 1}', b"\xff", b"[" * 100_000])
def test_an_entry_whose_first_line_is_damaged_is_dropped(tmp_path: Path, head: bytes):
    journal = ResultJournal(tmp_path)
    journal.write(finished("k"))
    entry = next(tmp_path.iterdir())
    _, _, body = entry.read_bytes().partition(b"\n")
    entry.write_bytes(head + b"\n" + body)
    assert journal.read("k") is None
    assert list(tmp_path.iterdir()) == []


def test_an_entry_that_tells_other_sizes_than_it_has_is_dropped(tmp_path: Path):
    journal = ResultJournal(tmp_path)
    journal.write(finished("k"))
    entry = next(tmp_path.iterdir())
    entry.write_bytes(entry.read_bytes().replace(b'["dense", 10]', b'["dense", 90]'))
    assert journal.read("k") is None


def test_a_half_written_entry_of_a_killed_agent_is_no_entry(tmp_path: Path):
    (tmp_path / "ab.partial").write_bytes(b"{")
    assert ResultJournal(tmp_path).read("ab") is None
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_entries_make_room_for_new_ones(tmp_path: Path):
    journal = ResultJournal(tmp_path, limit_bytes=3000)
    for age, key in enumerate("abc"):
        journal.write(finished(key, 1000))
        for entry in tmp_path.iterdir():
            os.utime(entry, ns=(entry.stat().st_mtime_ns - 10**9 * (3 - age),) * 2)
    assert [journal.read(key) is not None for key in "abc"] == [False, True, True]


def test_entries_of_before_a_restart_count_and_make_room(tmp_path: Path):
    ResultJournal(tmp_path, limit_bytes=3000).write(finished("a", 2000))
    journal = ResultJournal(tmp_path, limit_bytes=3000)
    journal.write(finished("b", 2000))
    assert [journal.read(key) is not None for key in "ab"] == [False, True]
