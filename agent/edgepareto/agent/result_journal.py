"""Finished batches by request key, so that the same key is never measured twice, also after a crash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.errors import RequestError

__all__ = ["DEFAULT_LIMIT_BYTES", "FinishedBatch", "ResultJournal"]

DEFAULT_LIMIT_BYTES = 512 << 20  # about 1,500 batches at `standard`
PARTIAL_SUFFIX = ".partial"
ENTRY_SUFFIX = ".batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedBatch:
    """fingerprint: hash of what was asked. results: candidate id and serialised result, anchor first."""

    request_key: str
    fingerprint: str
    results: tuple[tuple[str, bytes], ...]


class ResultJournal:
    """A folder with one file per request key: a line of JSON, then the results' bytes. The oldest go first.

    The host commits a batch as soon as it arrives and asks again only for one in flight, so old entries are not missed.
    """

    def __init__(self, folder: Path, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob(f"*{PARTIAL_SUFFIX}"):
            partial.unlink()
        self._used_bytes = sum(entry.stat().st_size for entry in self._entries())

    def write(self, batch: FinishedBatch) -> None:
        """Durable when it returns: written beside, synced, renamed. Raises OSError, then nothing is left of it."""
        body = b"".join(data for _, data in batch.results)
        head = {
            "request_key": batch.request_key,
            "fingerprint": batch.fingerprint,
            "results": [[candidate, len(data)] for candidate, data in batch.results],
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        final = self._path(batch.request_key)
        partial = final.with_suffix(PARTIAL_SUFFIX)
        self._make_room(len(body))
        try:
            with partial.open("wb") as file:
                file.write(json.dumps(head).encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(final)
            self._used_bytes += final.stat().st_size
        finally:
            partial.unlink(missing_ok=True)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, request_key: str, fingerprint: str | None = None) -> FinishedBatch | None:
        """The finished batch, None where there is none. Raises RequestError where the key was used for another batch.

        An entry that the disk damaged is dropped: measuring again is the only way to have the numbers.
        """
        path = self._path(request_key)
        try:
            with path.open("rb") as file:
                batch = _parsed(file.readline(), file.read())
        except FileNotFoundError:
            return None
        if batch is None:
            path.unlink(missing_ok=True)
            return None
        if fingerprint is not None and batch.fingerprint != fingerprint:
            raise RequestError(f"request key {request_key} was used for another batch; a new batch needs a new key")
        return batch

    def _path(self, request_key: str) -> Path:
        return self._folder / (hashlib.sha256(request_key.encode()).hexdigest() + ENTRY_SUFFIX)

    def _make_room(self, size_bytes: int) -> None:
        """The folder is listed only where it is full: with every batch, its thousands of entries would cost memory."""
        if self._used_bytes + size_bytes <= self._limit_bytes:
            return
        entries = sorted(((p.stat(), p) for p in self._entries()), key=lambda entry: entry[0].st_mtime_ns)
        self._used_bytes = sum(stat.st_size for stat, _ in entries)
        for stat, path in entries:
            if self._used_bytes + size_bytes <= self._limit_bytes:
                return
            path.unlink()
            self._used_bytes -= stat.st_size

    def _entries(self) -> Iterator[Path]:
        return self._folder.glob(f"*{ENTRY_SUFFIX}")


def _parsed(head_line: bytes, body: bytes) -> FinishedBatch | None:
    """None: it is not whole."""
    try:
        head = json.loads(head_line)
        if hashlib.sha256(body).hexdigest() != head["sha256"]:
            return None
        results = []
        start = 0
        for candidate, size in head["results"]:
            results.append((str(candidate), body[start : start + size]))
            start += size
        if start != len(body):
            return None
        return FinishedBatch(request_key=head["request_key"], fingerprint=head["fingerprint"], results=tuple(results))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
