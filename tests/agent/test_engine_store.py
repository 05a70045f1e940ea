"""Engines are bounded, whole, and of the model under which they lie, whatever a worker says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from edgepareto.agent import engine_store
from edgepareto.agent.engine_store import EngineStore

MODEL, OTHER = "a" * 64, "b" * 64
KIND, NEWER = "1" * 64, "2" * 64


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "engines", quota_bytes=100)


def add(store: EngineStore, model: str, kind: str, content: bytes) -> Path:
    assert store.keep(model, kind, len(content), [content[:3], content[3:]])
    (path,) = (file for file in store.of_model(model).iterdir() if file.name.startswith(kind))
    return path


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def test_what_was_kept_is_there_for_the_next_process(store: EngineStore, tmp_path: Path):
    add(store, MODEL, KIND, b"an engine")
    assert contents(EngineStore(tmp_path / "engines").of_model(MODEL)) == [b"an engine"]
    assert contents(store.of_model(OTHER)) == []


def test_an_engine_replaces_the_one_of_its_kind_alone(store: EngineStore):
    for kind, content in ((KIND, b"old"), (NEWER, b"other"), (KIND, b"new")):
        add(store, MODEL, kind, content)
    assert contents(store.of_model(MODEL)) == [b"new", b"other"]


def test_the_least_recently_used_makes_room(store: EngineStore):
    first, second = (add(store, model, KIND, bytes(40)) for model in (MODEL, OTHER))
    for age, path in enumerate((second, first)):
        os.utime(path, (age, age))
    store.of_model(OTHER)  # used now
    add(store, MODEL, NEWER, bytes(30))
    assert (first.exists(), second.exists()) == (False, True)


def test_a_damaged_engine_is_not_given_out(store: EngineStore):
    path = add(store, MODEL, KIND, b"an engine")
    path.write_bytes(b"an Engine")
    assert contents(store.of_model(MODEL)) == []


@pytest.mark.parametrize(
    ("kind", "told", "parts"),
    [
        (KIND, 9, [b"an engine", b"!"]),
        (KIND, 9, [b"an"]),
        (KIND, 101, [bytes(101)]),
        ("../" + KIND[3:], 9, [b"an engine"]),
        ("", 9, [b"an engine"]),
    ],
    ids=["longer", "shorter", "larger than all", "elsewhere", "nameless"],
)
def test_what_is_not_as_the_worker_told_is_not_kept(
    kind: str, told: int, parts: list[bytes], store: EngineStore, tmp_path: Path
):
    add(store, OTHER, KIND, b"another's")
    assert not store.keep(MODEL, kind, told, parts)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [
        path.name for path in store.of_model(OTHER).iterdir()
    ]


def test_nothing_is_kept_on_a_disk_that_is_nearly_full(store: EngineStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_store, "FREE_DISK_BYTES", 1 << 60)
    assert not store.keep(MODEL, KIND, 9, [b"an engine"])


def test_what_a_worker_failed_with_can_be_dropped(store: EngineStore):
    add(store, MODEL, KIND, b"an engine")
    add(store, OTHER, KIND, b"another's")
    store.drop(MODEL)
    assert contents(store.of_model(MODEL)) == []
    assert contents(store.of_model(OTHER)) == [b"another's"]
