"""Models, sample inputs and expected outputs by the sha256 of their bytes: bounded, and whole after any crash."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edgepareto.agent.errors import MissingBlob, NoRoom, RequestError, Status, UploadCorrupt

__all__ = ["DEFAULT_QUOTA_BYTES", "ModelStore"]

DEFAULT_QUOTA_BYTES = 1 << 30
LARGEST_BLOB_BYTES = 2 << 30  # no single-file model is larger: protobuf's own limit
FREE_DISK_BYTES = 64 << 20  # always left to the rest of the board
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota on it, a limit on this process
PARTIAL_SUFFIX = ".partial"
READ_BYTES = 1 << 20
_NAME = re.compile(r"[0-9a-f]{64}")


class ModelStore:
    """A folder of blobs, the least recently used evicted first. Thread-safe; one process per folder."""

    def __init__(self, folder: Path, quota_bytes: int = DEFAULT_QUOTA_BYTES) -> None:
        self._folder = folder
        self._quota_bytes = quota_bytes
        self._lock = threading.Lock()
        self._promised_bytes = 0  # declared by uploads that have not ended
        self._held: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob(f"*{PARTIAL_SUFFIX}"):
            partial.unlink()
        self._stored_bytes = sum(stat.st_size for stat, _ in self._blobs())

    def missing(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of `names` that must be sent. What is here counts as used, so that it outlives the next upload."""
        return tuple(name for name in names if not self._touch(_checked(name)))

    def add(self, name: str, size_bytes: int, chunks: Iterable[bytes]) -> None:
        """Keep one blob. Its place is made before the first chunk is taken; nothing is left of an upload that fails.

        Raises NoRoom, UploadCorrupt where size or hash differ from what was declared, RequestError for a wrong name.
        """
        final = self._folder / _checked(name)
        if size_bytes > LARGEST_BLOB_BYTES:
            raise NoRoom(f"a blob of {size_bytes} bytes is too large: at most {LARGEST_BLOB_BYTES} bytes are taken")
        self._promise(size_bytes)
        try:
            partial = self._folder / f"{name}.{threading.get_ident()}{PARTIAL_SUFFIX}"
            try:
                with partial.open("wb") as file:
                    _write_checked(file, name, size_bytes, chunks)
                    file.flush()
                    os.fsync(file.fileno())
                with self._lock:
                    replaced = _size_of(final)
                    partial.rename(final)
                    self._stored_bytes += size_bytes - replaced
                _sync_folder(self._folder)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise NoRoom(f"the board's disk is full: {self._folder} could not take {size_bytes} bytes") from error
            raise
        finally:
            with self._lock:
                self._promised_bytes -= size_bytes

    @contextmanager
    def holding(self, names: Iterable[str]) -> Iterator[dict[str, Path]]:
        """The files of `names`, checked, and safe from eviction inside the block. One holder at a time.

        Raises MissingBlob for one that is not here, or whose bytes changed on disk (it is dropped).
        """
        wanted = {_checked(name) for name in names}
        with self._lock:
            self._held |= wanted
        try:
            yield {name: self._verified(name) for name in sorted(wanted)}
        finally:
            with self._lock:
                self._held -= wanted

    def _verified(self, name: str) -> Path:
        path = self._folder / name
        if not self._touch(name):
            raise MissingBlob(f"blob {name} is not on the board; upload it")
        if _sha256_of(path) != name:
            with self._lock:
                self._stored_bytes -= _size_of(path)
                path.unlink(missing_ok=True)
            raise MissingBlob(f"blob {name} was damaged on the board's disk and is dropped; upload it again")
        return path

    def _touch(self, name: str) -> bool:
        try:
            os.utime(self._folder / name)
        except FileNotFoundError:
            return False
        return True

    def _promise(self, size_bytes: int) -> None:
        with self._lock:
            # The folder is listed only where it is full: it may hold tens of thousands of small models.
            if self._promised_bytes + self._stored_bytes + size_bytes > self._quota_bytes:
                self._evict_for(size_bytes)
            free = shutil.disk_usage(self._folder).free - self._promised_bytes
            if size_bytes + FREE_DISK_BYTES > free:
                raise NoRoom(
                    f"the board's disk is too full: {size_bytes} bytes asked for, {free} free at {self._folder}, "
                    f"{FREE_DISK_BYTES} always stay free"
                )
            self._promised_bytes += size_bytes

    def _evict_for(self, size_bytes: int) -> None:
        blobs = sorted(self._blobs(), key=lambda blob: blob[0].st_mtime_ns)
        self._stored_bytes = sum(stat.st_size for stat, _ in blobs)
        staying = self._promised_bytes + sum(stat.st_size for stat, path in blobs if path.name in self._held)
        if staying + size_bytes > self._quota_bytes:  # before anything is evicted in vain
            raise NoRoom(
                f"a blob of {size_bytes} bytes does not fit: the board keeps at most {self._quota_bytes} bytes of "
                f"blobs and {staying} are in use; raise blob_quota_mb in agent.toml"
            )
        for stat, path in blobs:
            if self._promised_bytes + self._stored_bytes + size_bytes <= self._quota_bytes:
                break
            if path.name not in self._held:
                path.unlink()
                self._stored_bytes -= stat.st_size

    def _blobs(self) -> Iterator[tuple[os.stat_result, Path]]:
        for path in self._folder.iterdir():
            if _NAME.fullmatch(path.name):
                yield path.stat(), path


def _checked(name: str) -> str:
    """Only our own lower-case hex names reach the file system."""
    if not _NAME.fullmatch(name):
        raise RequestError(f"a blob is named by 64 lower-case hex digits of its sha256; seen {name[:80]!r}")
    return name


def _write_checked(file: BinaryIO, name: str, size_bytes: int, chunks: Iterable[bytes]) -> None:
    digest = hashlib.sha256()
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > size_bytes:
            raise _corrupt(name, f"more than the declared {size_bytes} bytes arrived")
        digest.update(chunk)
        file.write(chunk)
    if received != size_bytes:
        raise _corrupt(name, f"{received} bytes arrived, {size_bytes} were declared")
    if digest.hexdigest() != name:
        raise _corrupt(name, f"the bytes that arrived hash to {digest.hexdigest()}")


def _corrupt(name: str, told: str) -> UploadCorrupt:
    return UploadCorrupt(f"{Status.UPLOAD_CORRUPT.value}: blob {name}: {told}; send it again")


def _size_of(path: Path) -> int:
    """0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
