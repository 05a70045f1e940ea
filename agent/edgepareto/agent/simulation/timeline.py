"""What the board has drawn so far: the one file through which load reaches the meter.

Format, little-endian: a header of 8 bytes, the number of batches begun; then per record 16 bytes, the end of a segment
in nanoseconds of measurement time (int64) and the watts drawn since the previous record's end (float64). A batch starts
at 0 with an empty file. One process writes at a time (profiling and worker alternate); any number may read.
"""

from __future__ import annotations

import os
import struct
import weakref
from array import array
from bisect import bisect_left
from pathlib import Path

from edgepareto.agent.simulation.profile import Supply

__all__ = ["TimelineReader", "TimelineWriter", "create_timeline"]

_HEADER = struct.Struct("<Q")
_RECORD = struct.Struct("<qd")
_CHUNK = _RECORD.size * 65_536


def create_timeline(path: Path) -> None:
    path.write_bytes(_HEADER.pack(0))


class TimelineWriter:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)

    def append(self, end_ns: int, power_w: float) -> None:
        """Visible to readers at once: one write of a whole record."""
        os.write(self._file, _RECORD.pack(end_ns, power_w))

    def start_batch(self) -> int:
        """Empty the timeline for a new batch. Returns how many batches this board has begun."""
        # Not through the appending descriptor: Linux appends even with pwrite there (pwrite(2), BUGS).
        with self._path.open("r+b", buffering=0) as file:
            (batches,) = _HEADER.unpack(file.read(_HEADER.size))
            file.truncate(_HEADER.size)
            file.seek(0)
            file.write(_HEADER.pack(batches + 1))
        return int(batches) + 1


class TimelineReader:
    """The current through the shunt as a function of time, as far as it is known."""

    def __init__(self, path: Path, supply: Supply, *, extra_current_a: float = 0.0) -> None:
        self.supply = supply
        self._extra_current_a = extra_current_a
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        self._batch = -1
        self._forget()
        self.refresh()

    @property
    def covered_ns(self) -> int:
        return self._end_ns[-1]

    def refresh(self) -> None:
        """Take in what has been appended; forget everything where a new batch has begun."""
        (batch,) = _HEADER.unpack(os.pread(self._file, _HEADER.size, 0))
        if batch != self._batch:
            self._batch = batch
            self._forget()
        while True:
            data = os.pread(self._file, _CHUNK, self._offset)
            whole = len(data) - len(data) % _RECORD.size
            self._take_in(data[:whole])
            if whole < _CHUNK:
                return

    def mean_current_a(self, start_ns: float, end_ns: float) -> float:
        """Over an interval that is covered; what lies before the batch counts as no current."""
        return (self._charge(end_ns) - self._charge(start_ns)) / (end_ns - start_ns)

    def _forget(self) -> None:
        self._offset = _HEADER.size
        self._end_ns = array("q", [0])
        self._charge_ans = array("d", [0.0])  # ampere nanoseconds until that end

    def _take_in(self, data: bytes) -> None:
        end_ns, charge = self._end_ns[-1], self._charge_ans[-1]
        for until_ns, power_w in _RECORD.iter_unpack(data):
            charge += (self.supply.current_a(power_w) + self._extra_current_a) * (until_ns - end_ns)
            end_ns = until_ns
            self._end_ns.append(end_ns)
            self._charge_ans.append(charge)
        self._offset += len(data)

    def _charge(self, at_ns: float) -> float:
        if at_ns <= 0:
            return 0.0
        after = bisect_left(self._end_ns, at_ns)
        if after == len(self._end_ns):
            return self._charge_ans[-1]
        before_ns, before = self._end_ns[after - 1], self._charge_ans[after - 1]
        share = (at_ns - before_ns) / (self._end_ns[after] - before_ns)
        return before + share * (self._charge_ans[after] - before)
