"""What a board's TensorRT compiled of models, kept by model: bounded, and whole after any crash.

Workers see it read-only, as they see the models, and write nothing here: what one made comes as bytes over its pipe and
is filed under the model that it was started for. So a worker that was broken by its model changes that model's alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["DEFAULT_QUOTA_BYTES", "EngineStore"]

DEFAULT_QUOTA_BYTES = 1 << 30
FREE_DISK_BYTES = 256 << 20  # always left to the rest of the board, models above all
PARTIAL = "partial"
_HASH = re.compile(r"[0-9a-f]{64}")


class EngineStore:
    """folder/MODEL/KIND.SHA256: the least recently used is removed first. One user at a time.

    An engine that cannot be kept costs the time to make it again, and nothing else: no method raises.
    """

    def __init__(self, folder: Path, quota_bytes: int = DEFAULT_QUOTA_BYTES) -> None:
        self._folder = folder
        self._quota_bytes = quota_bytes

    def of_model(self, sha256: str) -> Path:
        """The folder of its engines, each compared with its hash: one that the disk damaged is removed. It may not be
        there, and counts as used now."""
        assert _HASH.fullmatch(sha256), sha256
        folder = self._folder / sha256
        for path in _files(folder):
            with contextlib.suppress(OSError):
                if path.name.rpartition(".")[2] != _sha256_of(path):
                    path.unlink()
                else:
                    os.utime(path)
        return folder

    def keep(self, sha256: str, kind: str, size_bytes: int, parts: Iterable[bytes]) -> bool:
        """In place of another of its kind. False: it was not kept, for want of room or as it is not what was told."""
        assert _HASH.fullmatch(sha256), sha256
        if not _HASH.fullmatch(kind) or size_bytes > self._quota_bytes:  # the worker's word
            return False
        folder = self._folder / sha256
        partial = self._folder / PARTIAL  # also what a crash left
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size_bytes)
            if shutil.disk_usage(self._folder).free < size_bytes + FREE_DISK_BYTES:
                return False
            digest = _written(partial, size_bytes, parts)
            if digest is None:
                return False
            folder.mkdir(exist_ok=True)
            final = folder / f"{kind}.{digest}"
            for older in folder.glob(f"{kind}.*"):
                older.unlink()
            partial.rename(final)
            return True
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def drop(self, sha256: str) -> None:
        """All of a model: a worker failed with them."""
        assert _HASH.fullmatch(sha256), sha256
        shutil.rmtree(self._folder / sha256, ignore_errors=True)

    def _make_room(self, size_bytes: int) -> None:
        """Raises OSError."""
        kept = [(path.stat(), path) for model in _folders(self._folder) for path in _files(model)]
        kept.sort(key=lambda pair: pair[0].st_mtime_ns)
        excess_bytes = sum(stat.st_size for stat, _ in kept) + size_bytes - self._quota_bytes
        for stat, path in kept:
            if excess_bytes <= 0:
                break
            path.unlink()
            excess_bytes -= stat.st_size
            with contextlib.suppress(OSError):  # there is another kind in it
                path.parent.rmdir()


def _written(partial: Path, size_bytes: int, parts: Iterable[bytes]) -> str | None:
    """The sha256. None: it has another size. Raises OSError."""
    digest, written = hashlib.sha256(), 0
    with partial.open("wb") as file:
        for part in parts:
            written += len(part)
            if written > size_bytes:
                return None
            file.write(part)
            digest.update(part)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest() if written == size_bytes else None


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if _HASH.fullmatch(path.name))


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
