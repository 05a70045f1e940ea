"""What a study's file holds, looked at from outside while a host works on it or after."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from edgepareto.host.store.trace_codec import decode_trace

BATCHES = "SELECT count(*) FROM batches"


def committed_batches(study: Path) -> int:
    file = study / "study.sqlite"
    if not file.exists():
        return 0
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        try:
            return int(connection.execute(BATCHES).fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def everything_measured(study: Path) -> dict[str, list[tuple]]:
    """Every candidate, asked genome and raw trace of a study, but for the identity of the study itself."""
    with sqlite3.connect(f"file:{study / 'study.sqlite'}?mode=ro", uri=True) as connection:
        traces = connection.execute(
            "SELECT device, phase, round, number, position, data FROM traces "
            "JOIN batches USING (request_key) ORDER BY device, phase, round, number, position"
        ).fetchall()
        return {
            "candidates": connection.execute("SELECT * FROM candidates ORDER BY id").fetchall(),
            "genomes": connection.execute("SELECT * FROM generations ORDER BY device, generation").fetchall(),
            # A job's id holds the request key, and that the study's own random id.
            "traces": [(*place, replace(decode_trace(data), job_id="")) for *place, data in traces],
        }
