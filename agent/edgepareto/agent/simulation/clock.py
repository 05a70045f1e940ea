"""Virtual measurement time: the board's own, and the sampler's copy of it that lags behind."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
from collections.abc import Callable
from math import cos, log, pi, sqrt
from pathlib import Path

from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.simulation.board_file import BoardSettings, read_settings
from edgepareto.agent.simulation.timeline import TimelineReader, TimelineWriter

__all__ = ["CLOCK_FILE", "TIMELINE_FILE", "BoardTime", "LaggingClock", "SimulatedClock"]

CLOCK_FILE = "clock"
TIMELINE_FILE = "timeline"

_CELL = struct.Struct("<q")
_IDLE_NOISE = 0.002  # relative sd of the watts of one idle segment; assumed, board regulators are steady
_LONGEST_WAIT_S = 60.0  # service time
_WAIT_STEP_S = 0.0005


class BoardTime:
    """The clock cell and the timeline of a board folder. One process advances at a time, any may look."""

    def __init__(self, folder: Path) -> None:
        with (folder / CLOCK_FILE).open("r+b") as file:
            self._cell = mmap.mmap(file.fileno(), _CELL.size)
        self._timeline = TimelineWriter(folder / TIMELINE_FILE)

    def now_ns(self) -> int:
        (now_ns,) = _CELL.unpack_from(self._cell)
        return int(now_ns)

    def advance(self, duration_ns: int, power_w: float) -> None:
        """Let time pass while the board draws that much. The timeline first: it is never behind the clock."""
        end_ns = self.now_ns() + duration_ns
        self._timeline.append(end_ns, power_w)
        _CELL.pack_into(self._cell, 0, end_ns)

    def start_batch(self) -> int:
        """Back to 0 with nothing drawn. Returns how many batches this board has begun."""
        batches = self._timeline.start_batch()
        _CELL.pack_into(self._cell, 0, 0)
        return batches


class SimulatedClock:
    """The Clock of a board folder. Sleeping advances it with the board idle; at pace 1 it sleeps really as well."""

    def __init__(self, folder: Path) -> None:
        self._settings = read_settings(folder)
        self._idle_w = self._settings.profile.power.idle_w
        self._dies_after = self._settings.faults.dies_after
        self._time = BoardTime(folder)

    def now_ns(self) -> int:
        return self._time.now_ns()

    def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        noise = 1 + _IDLE_NOISE * _normal(self._settings, "idle", str(self.now_ns()))
        self._time.advance(round(seconds * 1e9), self._idle_w * noise)
        if self._settings.pace:
            time.sleep(seconds * self._settings.pace)

    def start_batch(self) -> None:
        batches = self._time.start_batch()
        if self._dies_after is not None and batches > self._dies_after:
            os.kill(os.getpid(), signal.SIGKILL)


def _normal(settings: BoardSettings, *key: str) -> float:
    """A standard normal number that is a function of its key (Box-Muller). The server must not import numpy."""
    digest = settings.digest(*key)
    first, second = (int.from_bytes(digest[at : at + 8], "little") for at in (0, 8))
    return sqrt(-2 * log((first + 1) / 2**64)) * cos(2 * pi * second / 2**64)


class LaggingClock:
    """The sampler's clock on a simulated board: a local copy of time which its bus transactions advance.

    Reading what the board drew at an instant waits until the timeline covers it. Load moves the meter, the meter never
    moves the load. while_waiting: called with that instant again and again; it may raise to end the wait, and should
    take about half a millisecond of real time.
    """

    def __init__(self, folder: Path, while_waiting: Callable[[int], None] | None = None) -> None:
        settings = read_settings(folder)
        extra_current_a = 4.0 if settings.faults.meter_clipped else 0.0
        self.timeline = TimelineReader(
            folder / TIMELINE_FILE, settings.profile.power.supply, extra_current_a=extra_current_a
        )
        self._while_waiting = while_waiting
        # Not the board's clock: the chip's phase must not depend on what ran before this process was started.
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += max(0, round(seconds * 1e9))

    def start_batch(self) -> None:
        self._now_ns = 0

    def wait_until(self, at_ns: int) -> None:
        """Be at that instant, also backwards: how far the sampler had run ahead is an accident of scheduling."""
        self._now_ns = at_ns

    def wait_for_timeline(self) -> None:
        """Until the timeline covers now. Raises MeterError(IO) when it stands still for a minute of service time."""
        self.timeline.refresh()
        deadline_s = time.monotonic() + _LONGEST_WAIT_S
        while self.timeline.covered_ns < self._now_ns:
            if time.monotonic() > deadline_s:
                raise MeterError(
                    MeterStatus.IO,
                    f"the simulated board's timeline ends at {self.timeline.covered_ns} ns, the meter waits for "
                    f"{self._now_ns} ns since {_LONGEST_WAIT_S:.0f} s: its worker has died or was never started",
                )
            if self._while_waiting is None:
                time.sleep(_WAIT_STEP_S)
            else:
                self._while_waiting(self._now_ns)
            self.timeline.refresh()
