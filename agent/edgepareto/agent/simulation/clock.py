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
from edgepareto.agent.simulation.surroundings import Effect, Surroundings
from edgepareto.agent.simulation.timeline import TimelineReader, TimelineWriter, create_timeline

__all__ = ["BoardTime", "LaggingClock", "SimulatedClock", "create_clock", "has_rebooted"]

_CLOCK_FILE = "clock"
_TIMELINE_FILE = "timeline"
_REBOOTED_FILE = "rebooted"

_NOW = struct.Struct("<q")
_PASSED = struct.Struct("<qd")  # now, and watts x ns drawn since the last look at the surroundings
_QUICK = struct.Struct("<qdq")  # the same, and until when nothing slows a run: 0 where something does
_SLOWED = struct.Struct("<qdd")  # behind it: the instant of the next look, until then a run's stretch and the clock
_CELL_BYTES = _QUICK.size + _SLOWED.size
_IDLE_NOISE = 0.002  # relative sd of the watts of one idle segment; assumed, board regulators are steady
_LONGEST_WAIT_S = 60.0  # service time
_WAIT_STEP_S = 0.0005
_AWAY_S = 1e-3  # more than what is between two runs of one block
_SHORTEST_SLEEP_S = 5e-4  # shorter ones are collected: a sleep ends some 50 us late
_MOST_BEHIND_S = 0.1


def create_clock(folder: Path) -> None:
    """A board's clock at 0, with its timeline and surroundings. Its fake tree is there already."""
    (folder / _CLOCK_FILE).write_bytes(bytes(_CELL_BYTES + Surroundings.BYTES))
    create_timeline(folder / _TIMELINE_FILE)
    BoardTime(folder).begin()


class BoardTime:
    """The clock and the timeline of a board folder. One process advances at a time, any may look.

    At another pace than 0 whoever advances it waits until as much real time has passed.
    """

    def __init__(self, folder: Path, settings: BoardSettings | None = None) -> None:
        settings = settings or read_settings(folder)
        with (folder / _CLOCK_FILE).open("r+b") as file:
            self._cell = mmap.mmap(file.fileno(), _CELL_BYTES + Surroundings.BYTES)
        self._timeline = TimelineWriter(folder / _TIMELINE_FILE)
        self._surroundings = Surroundings(folder, settings, self._cell, _CELL_BYTES)
        self._idle_w = settings.profile.power.idle_w
        self._pacer = _Pacer(settings.pace) if settings.pace else None

    def now_ns(self) -> int:
        now_ns: int = _NOW.unpack_from(self._cell)[0]
        return now_ns

    def advance(self, duration_ns: int, power_w: float, *, is_run: bool = False) -> None:
        """Let time pass while the board draws that much. The timeline first: it is never behind the clock.

        is_run: they are those of a run on a cool, quiet board at its full clock; on another one it takes longer.
        """
        now_ns, drawn, look_ns = _QUICK.unpack_from(self._cell)
        if now_ns >= look_ns:
            look_ns, stretch, clock = _SLOWED.unpack_from(self._cell, _QUICK.size)
            if is_run:
                duration_ns = round(duration_ns * stretch)
                power_w = self._idle_w + (power_w - self._idle_w) * clock
        now_ns += duration_ns
        drawn += power_w * duration_ns
        self._timeline.append(now_ns, power_w)
        if now_ns < look_ns:
            _PASSED.pack_into(self._cell, 0, now_ns, drawn)
        else:
            self._tell(now_ns, self._surroundings.look(now_ns, drawn))
        if self._pacer is not None:
            self._pacer.keep(duration_ns)

    def begin(self) -> None:
        """Back to 0 on a board at rest."""
        self._tell(0, self._surroundings.begin())

    def begin_batch(self) -> int:
        """The same with nothing drawn. Returns how many batches this board has begun."""
        batches = self._timeline.start_batch()
        self.begin()
        return batches

    def _tell(self, now_ns: int, effect: Effect) -> None:
        quick_until_ns = effect.look_ns if effect.stretch == 1.0 else 0
        _QUICK.pack_into(self._cell, 0, now_ns, 0.0, quick_until_ns)
        _SLOWED.pack_into(self._cell, _QUICK.size, effect.look_ns, effect.stretch, effect.clock)


class _Pacer:
    """Real time that follows measurement time. A wait that ends late is made up for by the next ones.

    Time that this process spent elsewhere, waiting for a command or while another worker ran, is not made up for.
    """

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._due_s = self._left_s = time.monotonic()

    def keep(self, duration_ns: int) -> None:
        now_s = time.monotonic()
        if now_s - self._left_s > _AWAY_S:
            self._due_s = max(self._due_s, now_s)
        self._due_s += duration_ns * 1e-9 * self._pace
        if self._due_s - now_s > _SHORTEST_SLEEP_S:
            time.sleep(self._due_s - now_s)
        self._left_s = time.monotonic()
        self._due_s = max(self._due_s, self._left_s - _MOST_BEHIND_S)


class SimulatedClock(BoardTime):
    """The Clock of a board folder. Sleeping advances it with the board idle."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settings = read_settings(folder)
        self._faults = self._settings.faults
        super().__init__(folder, self._settings)

    def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        noise = 1 + _IDLE_NOISE * _normal(self._settings, "idle", str(self.now_ns()))
        self.advance(round(seconds * 1e9), self._idle_w * noise)

    def start_batch(self) -> None:
        batches = self.begin_batch()
        dies_after, reboot_after = self._faults.dies_after, self._faults.reboot_after
        reboots = reboot_after is not None and batches > reboot_after and not has_rebooted(self._folder)
        if reboots:
            (self._folder / _REBOOTED_FILE).touch()
        if reboots or (dies_after is not None and batches > dies_after):
            os.kill(os.getpid(), signal.SIGKILL)


def has_rebooted(folder: Path) -> bool:
    """Whether the fault reboot_after has struck this board."""
    return (folder / _REBOOTED_FILE).exists()


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
            folder / _TIMELINE_FILE, settings.profile.power.supply, extra_current_a=extra_current_a
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
