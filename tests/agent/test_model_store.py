"""Blobs are whole or not there, within their quota, whatever happens."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgepareto.agent.errors import MissingBlob, NoRoom, RequestError, UploadCorrupt
from edgepareto.agent.model_store import ModelStore


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def add(store: ModelStore, content: bytes) -> str:
    store.add(name_of(content), len(content), iter([content[:3], content[3:]]))
    return name_of(content)


def age(folder: Path, name: str, seconds: int) -> None:
    os.utime(folder / name, (seconds, seconds))


def test_what_was_added_is_there_for_the_next_process(tmp_path: Path):
    name = add(ModelStore(tmp_path), b"a model")
    store = ModelStore(tmp_path)
    assert store.missing([name, name_of(b"another")]) == (name_of(b"another"),)
    with store.holding([name]) as files:
        assert files[name].read_bytes() == b"a model"


@pytest.mark.parametrize(
    ("declared", "sent"),
    [(7, [b"a modem"]), (7, [b"a mode"]), (7, [b"a model", b"!"]), (7, [])],
    ids=["flipped", "short", "long", "nothing"],
)
def test_an_upload_that_is_not_what_was_declared_leaves_nothing_behind(
    tmp_path: Path, declared: int, sent: list[bytes]
):
    store = ModelStore(tmp_path)
    with pytest.raises(UploadCorrupt, match="send it again"):
        store.add(name_of(b"a model"), declared, iter(sent))
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing_behind_and_its_room_is_free_again(tmp_path: Path):
    def broken() -> Iterator[bytes]:
        yield b"a mo"
        raise ConnectionResetError

    store = ModelStore(tmp_path, quota_bytes=10)
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            store.add(name_of(b"a model"), 7, broken())
    assert list(tmp_path.iterdir()) == []
    add(store, b"a model")


def test_a_partial_file_of_a_killed_agent_is_gone_after_the_restart(tmp_path: Path):
    (tmp_path / f"{name_of(b'x')}.140.partial").write_bytes(b"half")
    ModelStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_room_is_checked_from_the_declared_size_before_the_first_byte_is_taken(tmp_path: Path):
    def untouched() -> Iterator[bytes]:
        pytest.fail("a byte was taken")
        yield b""

    store = ModelStore(tmp_path, quota_bytes=100)
    kept = add(store, b"kept")
    with pytest.raises(NoRoom, match="101 bytes does not fit: the board keeps at most 100 bytes"):
        store.add(name_of(b"big"), 101, untouched())
    assert store.missing([kept]) == ()  # nothing was evicted in vain


def test_the_least_recently_used_blob_makes_room_and_one_in_use_never_does(tmp_path: Path):
    store = ModelStore(tmp_path, quota_bytes=30)
    held, old, fresh = (add(store, text * 10) for text in (b"h", b"o", b"f"))
    for seconds, name in ((1, held), (2, old), (3, fresh)):
        age(tmp_path, name, seconds)
    with store.holding([held]):
        age(tmp_path, held, 1)
        add(store, b"n" * 10)
        assert store.missing([held, old, fresh]) == (old,)


def test_asking_for_a_blob_counts_as_using_it(tmp_path: Path):
    store = ModelStore(tmp_path, quota_bytes=20)
    first, second = add(store, b"1" * 10), add(store, b"2" * 10)
    age(tmp_path, first, 1)
    age(tmp_path, second, 2)
    store.missing([first])
    add(store, b"3" * 10)
    assert store.missing([first, second]) == (second,)


def test_a_blob_that_the_disk_damaged_is_never_handed_out_and_is_asked_for_again(tmp_path: Path):
    store = ModelStore(tmp_path)
    name = add(store, b"a model")
    (tmp_path / name).write_bytes(b"a modem")
    with pytest.raises(MissingBlob, match="damaged"), store.holding([name]):
        pass
    assert store.missing([name]) == (name,)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 64 + "/b"])
def test_only_our_own_names_reach_the_file_system(tmp_path: Path, name: str):
    store = ModelStore(tmp_path / "blobs")
    with pytest.raises(RequestError, match="64 lower-case hex digits"):
        store.add(name, 1, iter([b"x"]))
    with pytest.raises(RequestError), store.holding([name]):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["blobs"]


def test_blobs_of_before_a_restart_count_against_the_quota_and_each_only_once(tmp_path: Path):
    first = add(ModelStore(tmp_path, quota_bytes=30), b"1" * 10)
    age(tmp_path, first, 1)
    store = ModelStore(tmp_path, quota_bytes=30)
    for text in (b"2", b"2", b"3"):
        add(store, text * 10)
    assert (tmp_path / first).exists()
    add(store, b"4" * 10)
    assert not (tmp_path / first).exists()
