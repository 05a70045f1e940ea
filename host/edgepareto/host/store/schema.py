"""The tables of study.sqlite and how an older file becomes one of today."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from edgepareto.host.errors import StudyError

__all__ = ["SCHEMA_VERSION", "migrate"]

SCHEMA_VERSION = 8
FIRST_WITH_RUNTIMES = 4  # in a candidate's identity; before, a device had one

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE devices (name TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE candidates (
    id TEXT PRIMARY KEY, widths TEXT NOT NULL, criterion TEXT NOT NULL, recovery TEXT NOT NULL, images INTEGER NOT NULL,
    accuracy REAL, test_accuracy REAL, macs INTEGER, parameters INTEGER, bytes INTEGER, model_sha256 TEXT, failure TEXT
);
CREATE TABLE generations (
    device TEXT NOT NULL, generation INTEGER NOT NULL, genomes TEXT NOT NULL, PRIMARY KEY (device, generation)
);
-- retired: of a path that a search with another budget left, kept but part of no estimate
CREATE TABLE batches (
    request_key TEXT PRIMARY KEY, device TEXT NOT NULL, phase TEXT NOT NULL, round INTEGER NOT NULL,
    number INTEGER NOT NULL, retired INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE traces (
    request_key TEXT NOT NULL REFERENCES batches, position INTEGER NOT NULL, candidate TEXT NOT NULL,
    status TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (request_key, position)
);
CREATE TABLE notes (device TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (device, text));
"""

# From the version named to the next one; each runs in the transaction that also raises user_version.
MIGRATIONS: Mapping[int, str] = {
    0: TABLES,
    1: """
        ALTER TABLE candidates ADD COLUMN validation_hits BLOB;
        ALTER TABLE candidates ADD COLUMN test_hits BLOB;
    """,
    # What befell a board, at: ISO 8601, UTC. No replay looks at it.
    2: """
        CREATE TABLE incidents (
            device TEXT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL, outcome TEXT NOT NULL
        );
    """,
    3: """
        ALTER TABLE candidates ADD COLUMN runtime TEXT NOT NULL DEFAULT 'onnxruntime';
        ALTER TABLE candidates ADD COLUMN precision TEXT NOT NULL DEFAULT 'fp32';
        ALTER TABLE candidates ADD COLUMN threads INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE candidates ADD COLUMN clock_mode TEXT NOT NULL DEFAULT '';
        ALTER TABLE candidates ADD COLUMN output_error REAL;
        CREATE TABLE verified (
            device TEXT NOT NULL, candidate TEXT NOT NULL, samples INTEGER NOT NULL, on_host REAL, on_board REAL,
            difference REAL, difference_low REAL, difference_high REAL, failure TEXT NOT NULL,
            PRIMARY KEY (device, candidate)
        );
    """,
    # JSON, names of the branches that a candidate is without.
    4: "ALTER TABLE candidates ADD COLUMN dropped TEXT NOT NULL DEFAULT '[]'",
    5: "ALTER TABLE candidates ADD COLUMN divergence REAL",
    6: """
        ALTER TABLE candidates ADD COLUMN distil_steps INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE candidates ADD COLUMN distil_labels REAL NOT NULL DEFAULT 0;
    """,
    # What became of each candidate that a device's search asked for (study/routing.py). taken: in its last run.
    7: """
        CREATE TABLE routes (
            device TEXT NOT NULL, generation INTEGER NOT NULL, candidate TEXT NOT NULL, route TEXT NOT NULL,
            taken INTEGER NOT NULL, PRIMARY KEY (device, generation, candidate)
        )
    """,
}


def migrate(connection: sqlite3.Connection, file: Path) -> None:
    """Bring an open transaction's database to SCHEMA_VERSION. Raises StudyError where it is newer."""
    version = schema_version(connection)
    if version > SCHEMA_VERSION:
        raise StudyError(
            f"{file}: has schema {version}, this edgepareto knows up to {SCHEMA_VERSION}; "
            "upgrade edgepareto or choose another --study"
        )
    if 0 < version < FIRST_WITH_RUNTIMES and (device := _first_in_litert(connection)) is not None:
        raise StudyError(
            f"{file}: was begun by an older edgepareto with {device} in LiteRT, whose candidates it did not tell from "
            "those in ONNX Runtime; look at it with that version, and search again under another --study"
        )
    for step in range(version, SCHEMA_VERSION):
        for statement in MIGRATIONS[step].split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def schema_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _first_in_litert(connection: sqlite3.Connection) -> str | None:
    for name, record in connection.execute("SELECT name, record FROM devices ORDER BY rowid"):
        if json.loads(record)["config"].get("runtime") == "litert":
            return str(name)
    return None
