"""study.sqlite: every finished batch is one transaction, so that a host killed at any moment loses none.

A plain rollback journal instead of a write-ahead log: the study stays one file that can be copied, and a batch takes
seconds, so the extra flush costs nothing.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path

from edgepareto.host.domain import (
    Candidate,
    CandidateId,
    Deployment,
    DeviceName,
    Genome,
    Incident,
    ProfileTrace,
    Recipe,
)
from edgepareto.host.domain.interval import Interval
from edgepareto.host.domain.verified import Verified
from edgepareto.host.errors import StoreError, StudyError
from edgepareto.host.store.records import (
    BatchRecord,
    DeviceRecord,
    DeviceState,
    Phase,
    Route,
    StudyIdentity,
    genome_of,
    genome_record,
)
from edgepareto.host.store.schema import SCHEMA_VERSION, migrate, schema_version
from edgepareto.host.store.study_lock import study_lock
from edgepareto.host.store.trace_codec import decode_trace, encode_trace

__all__ = ["STUDY_FILE", "StudyStore"]

STUDY_FILE = "study.sqlite"
ON_A_PATH = "phase != 'remeasure'"
BUSY_S = 10.0  # a reader (`host front` during a search) holds the file for milliseconds
CANDIDATE_COLUMNS = (
    "id, widths, criterion, recovery, images, accuracy, test_accuracy, macs, parameters, bytes, model_sha256, failure, "
    "validation_hits, test_hits, runtime, precision, threads, clock_mode, output_error, dropped, divergence, "
    "distil_steps, distil_labels"
)


class StudyStore:
    """One study's rows. Any thread may call; each method is one transaction.

    Every method raises StoreError where the study cannot be written (a full disk); what was committed stays.
    """

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        """Use `open_for_search` or `open_for_reading`."""
        self._connection = connection
        self._file = file
        self._lock = threading.RLock()

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Whether a study was begun there; a start that failed before is none. Raises as `open_for_reading`."""
        if not (folder / STUDY_FILE).is_file():
            return False
        with cls.open_for_reading(folder) as store:
            return store.identity() is not None

    @classmethod
    @contextmanager
    def open_for_search(cls, folder: Path) -> Iterator[StudyStore]:
        """Create or open the study, exclusively. StudyError: held by another process, newer schema, damaged."""
        file = folder / STUDY_FILE
        with ExitStack() as stack:
            with _plain_errors(file):
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(study_lock(folder))
                connection = stack.enter_context(_connection(file, "rwc"))
                with _transaction(connection):
                    migrate(connection, file)
            yield cls(connection, file)

    @classmethod
    @contextmanager
    def open_for_reading(cls, folder: Path) -> Iterator[StudyStore]:
        """Also while a search runs. Raises StudyError where there is no study, or one that cannot be read."""
        file = folder / STUDY_FILE
        if not file.is_file():
            raise StudyError(
                f"{folder}: holds no study ({STUDY_FILE} is missing); run host search, or name it with --study"
            )
        # rw: a reader must be able to roll back what a killed writer left; SQLite falls back to reading alone.
        with ExitStack() as stack:
            with _plain_errors(file):
                connection = stack.enter_context(_connection(file, "rw"))
                if schema_version(connection) != SCHEMA_VERSION:
                    with _transaction(connection):
                        migrate(connection, file)
            yield cls(connection, file)

    def identity(self) -> StudyIdentity | None:
        """None in a study that was killed before it began."""
        text = self.meta("identity")
        return None if text is None else StudyIdentity.from_json(text)

    def save_identity(self, identity: StudyIdentity) -> None:
        self.save_meta("identity", identity.to_json())

    def forget_failed_start(self) -> None:
        """Of a study without an identity: what it wrote may belong to other data or settings."""
        with self._writing() as connection:
            connection.execute("DELETE FROM candidates")
            connection.execute("DELETE FROM devices")
            connection.execute("DELETE FROM incidents")

    def meta(self, key: str) -> str | None:
        rows = self._read("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def save_meta(self, key: str, value: str) -> None:
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def devices(self) -> tuple[DeviceRecord, ...]:
        """In the order in which they joined the study."""
        return tuple(DeviceRecord.from_json(row[0]) for row in self._read("SELECT record FROM devices ORDER BY rowid"))

    def save_devices(self, *records: DeviceRecord) -> None:
        """All or none. A device that runs (again) loses the notes of earlier runs, and its routes count as soon as they
        are taken again: a replay says again what still holds."""
        with self._writing() as connection:
            for record in records:
                connection.execute(
                    "INSERT INTO devices VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record",
                    (record.name, record.to_json()),
                )
                if record.state is DeviceState.RUNNING:
                    connection.execute("DELETE FROM notes WHERE device = ?", (record.name,))
                    connection.execute("UPDATE routes SET taken = 0 WHERE device = ?", (record.name,))

    def candidates(self) -> dict[CandidateId, Candidate]:
        rows = self._read(f"SELECT {CANDIDATE_COLUMNS} FROM candidates ORDER BY id")
        found = (
            Candidate(
                id=CandidateId(row[0]),
                genome=Genome(
                    widths=tuple(json.loads(row[1])),
                    deployment=Deployment(runtime=row[14], precision=row[15], threads=row[16], clock_mode=row[17]),
                    dropped=tuple(json.loads(row[19])),
                ),
                recipe=Recipe(
                    criterion=row[2], recovery=row[3], images=row[4], distil_steps=row[21], distil_labels=row[22]
                ),
                accuracy=row[5],
                test_accuracy=row[6],
                macs=row[7],
                parameters=row[8],
                bytes=row[9],
                model_sha256=row[10],
                failure=row[11],
                validation_hits=row[12],
                test_hits=row[13],
                output_error=row[18],
                divergence=row[20],
            )
            for row in rows
        )
        return {candidate.id: candidate for candidate in found}

    def save_candidate(self, candidate: Candidate) -> None:
        c, way = candidate, candidate.genome.deployment
        values = (
            *(c.id, json.dumps(c.genome.widths), c.recipe.criterion, c.recipe.recovery, c.recipe.images, c.accuracy),
            *(c.test_accuracy, c.macs, c.parameters, c.bytes, c.model_sha256, c.failure),
            *(c.validation_hits, c.test_hits),
            *(way.runtime, way.precision, way.threads, way.clock_mode, c.output_error, json.dumps(c.genome.dropped)),
            *(c.divergence, c.recipe.distil_steps, c.recipe.distil_labels),
        )
        with self._writing() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO candidates ({CANDIDATE_COLUMNS}) VALUES ({', '.join('?' * len(values))})",
                values,
            )

    def generation(self, device: DeviceName, generation: int) -> tuple[Genome, ...] | None:
        """What was asked of the device in this generation; None where it was not asked yet."""
        rows = self._read("SELECT genomes FROM generations WHERE device = ? AND generation = ?", device, generation)
        return tuple(genome_of(raw) for raw in json.loads(rows[0][0])) if rows else None

    def save_generation(self, device: DeviceName, generation: int, genomes: Sequence[Genome]) -> None:
        with self._writing() as connection:
            text = json.dumps([genome_record(genome) for genome in genomes])
            connection.execute("INSERT INTO generations VALUES (?, ?, ?)", (device, generation, text))

    def routes(self, device: DeviceName, generation: int) -> dict[CandidateId, Route]:
        """All that were ever decided, of a path that the search left as well."""
        rows = self._read("SELECT candidate, route FROM routes WHERE device = ? AND generation = ?", device, generation)
        return {CandidateId(candidate): Route(route) for candidate, route in rows}

    def taken_routes(self, device: DeviceName) -> list[tuple[CandidateId, Route]]:
        """Of the search's path, as far as its last run has come."""
        rows = self._read("SELECT candidate, route FROM routes WHERE device = ? AND taken ORDER BY rowid", device)
        return [(CandidateId(candidate), Route(route)) for candidate, route in rows]

    def save_routes(self, device: DeviceName, generation: int, routes: Mapping[CandidateId, Route]) -> None:
        """They are taken."""
        rows = [(device, generation, candidate, route.value) for candidate, route in routes.items()]
        with self._writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO routes VALUES (?, ?, ?, ?, 1)", rows)

    def batch(self, request_key: str) -> BatchRecord | None:
        """A stored batch. One of a retired path counts again, and other paths are retired from its number on."""
        for device, number in self._read(
            "SELECT device, number FROM batches WHERE request_key = ? AND retired = 1", request_key
        ):
            with self._writing() as connection:
                connection.execute(
                    f"UPDATE batches SET retired = (request_key != ?) WHERE device = ? AND number >= ? AND {ON_A_PATH}",
                    (request_key, device, number),
                )
        found = self._batches("request_key = ?", request_key)
        return found[0] if found else None

    def batches(self, device: DeviceName, on_damaged: Callable[[str], None] | None = None) -> Iterator[BatchRecord]:
        """The device's batches that count, in the order in which they were measured, one at a time: traces are large.

        A trace that cannot be read raises StudyError; with `on_damaged`, which is told the line, it is left out.
        """
        rows = self._read(
            f"SELECT request_key FROM batches WHERE retired = 0 AND device = ? ORDER BY NOT {ON_A_PATH}, number", device
        )
        for (request_key,) in rows:
            yield from self._batches("request_key = ?", request_key, on_damaged)

    def save_batch(self, batch: BatchRecord, *, elapsed_s: float) -> None:
        """All of the batch or nothing of it.

        What the search had on the device from this number on is retired: it goes on with another budget and left that
        path. A remeasured batch is on no path.
        elapsed_s: how long the search has taken, over all runs of the study.
        """
        traces = [
            (batch.request_key, position, trace.candidate, trace.status.value, encode_trace(trace))
            for position, trace in enumerate(batch.traces)
        ]
        with self._writing() as connection:
            if batch.phase is not Phase.REMEASURE:
                connection.execute(
                    f"UPDATE batches SET retired = 1 WHERE device = ? AND number >= ? AND {ON_A_PATH}",
                    (batch.device, batch.number),
                )
            connection.execute(
                "INSERT INTO batches (request_key, device, phase, round, number) VALUES (?, ?, ?, ?, ?)",
                (batch.request_key, batch.device, batch.phase.value, batch.round, batch.number),
            )
            connection.executemany("INSERT INTO traces VALUES (?, ?, ?, ?, ?)", traces)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('elapsed_s', ?)", (repr(elapsed_s),))

    def notes(self, device: DeviceName) -> tuple[str, ...]:
        return tuple(row[0] for row in self._read("SELECT text FROM notes WHERE device = ? ORDER BY rowid", device))

    def save_note(self, device: DeviceName, text: str) -> None:
        """Said once: the same note again changes nothing."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO notes VALUES (?, ?)", (device, text))

    def incidents(self, device: DeviceName) -> tuple[Incident, ...]:
        """Of all runs, in the order in which they were told."""
        rows = self._read("SELECT at, kind, detail, outcome FROM incidents WHERE device = ? ORDER BY rowid", device)
        return tuple(
            Incident(device=device, kind=kind, detail=detail, at=datetime.fromisoformat(at), outcome=outcome)
            for at, kind, detail, outcome in rows
        )

    def save_incident(self, incident: Incident) -> None:
        """In a transaction of its own, also in the middle of a batch."""
        at = incident.at.astimezone(timezone.utc).isoformat(timespec="seconds")
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO incidents VALUES (?, ?, ?, ?, ?)",
                (incident.device, at, incident.kind, incident.detail, incident.outcome),
            )

    def verified(self, device: DeviceName) -> dict[CandidateId, Verified]:
        """What scoring on the device said last of each candidate."""
        rows = self._read(
            "SELECT candidate, on_host, on_board, difference, difference_low, difference_high, verified.failure, "
            "samples, runtime, precision, threads, clock_mode "
            "FROM verified JOIN candidates ON candidate = id WHERE device = ?",
            device,
        )
        return {
            CandidateId(row[0]): Verified(
                candidate=CandidateId(row[0]),
                deployment=Deployment(runtime=row[8], precision=row[9], threads=row[10], clock_mode=row[11]),
                on_host=row[1],
                on_board=row[2],
                difference=None if row[3] is None else Interval(value=row[3], low=row[4], high=row[5]),
                failure=row[6],
                samples=row[7],
            )
            for row in rows
        }

    def save_verified(self, device: DeviceName, found: Verified) -> None:
        apart = found.difference
        ends = (None, None, None) if apart is None else (apart.value, apart.low, apart.high)
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO verified VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (device, found.candidate, found.samples, found.on_host, found.on_board, *ends, found.failure),
            )

    def _batches(
        self, condition: str, value: str, on_damaged: Callable[[str], None] | None = None
    ) -> tuple[BatchRecord, ...]:
        rows = self._read(
            "SELECT request_key, device, phase, round, number, candidate, data "
            "FROM batches JOIN traces USING (request_key) "
            f"WHERE retired = 0 AND {condition} ORDER BY NOT {ON_A_PATH}, number, position",
            value,
        )
        return tuple(
            BatchRecord(
                request_key=key,
                device=DeviceName(device),
                phase=Phase(phase),
                round=generation,
                number=number,
                traces=tuple(trace for row in group if (trace := self._trace(row, on_damaged)) is not None),
            )
            for (key, device, phase, generation, number), group in groupby(rows, key=lambda row: row[:5])
        )

    def _trace(self, row: sqlite3.Row, on_damaged: Callable[[str], None] | None) -> ProfileTrace | None:
        try:
            return decode_trace(row["data"])
        except StudyError as error:
            batch = f"{row['phase']} batch {row['number']}"
            line = f"{self._file}: {row['device']}, {batch}, candidate {row['candidate']}: {error}"
            if on_damaged is None:
                raise StudyError(line) from error
            on_damaged(line)
            return None

    def _read(self, query: str, *values: str | int) -> list[sqlite3.Row]:
        with self._lock, _plain_errors(self._file):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _plain_errors(self._file), _transaction(self._connection):
            yield self._connection


@contextmanager
def _connection(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    # No implicit transactions (isolation_level None): each of ours begins and ends where it is written.
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_S,
    )
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _plain_errors(file: Path) -> Iterator[None]:
    """SQLite's and the disk's words as ours, one line each."""
    try:
        yield
    except sqlite3.OperationalError as error:
        hint = "; free some space and go on with --resume" if "full" in str(error) else ""
        raise StoreError(f"{file}: {error}{hint}; every batch finished before is kept") from error
    except sqlite3.DatabaseError as error:
        raise StudyError(f"{file}: is no study or is damaged ({error}); choose another --study") from error
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        hint = "; free some space and go on with --resume" if error.errno == errno.ENOSPC else ""
        raise StoreError(f"{file}: cannot be written ({error.strerror or error}){hint}") from error
