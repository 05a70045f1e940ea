"""What happens to a board while it measures: heat and the throttling it brings, drift, other programs, a weak supply.

Everything is a function of measurement time and of the power drawn since the batch began, so a batch that is sent again
finds the same. Heat is one thermal resistance and one time constant (docs/board-facts.md, 5d). It is looked at every
100 ms of measurement time and not at every run, so that a run costs no more for it; the fake /sys follows at the same
pace.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path

from edgepareto.agent.simulation.board_file import BoardSettings
from edgepareto.agent.simulation.sysfs import SysTree, read_set_clock

__all__ = ["MOST_CLOCKS", "Effect", "Surroundings"]

MOST_CLOCKS = 8  # that a board may have, set or throttled
_LOOK_NS = 100_000_000
_STEP_NS = 1_000_000_000  # between two steps down, assumed: the firmware looks about once a second
_SHOWN_STEP_C = 0.5  # a Raspberry Pi's sensor steps by about half a degree
_HOT_SHARE = 0.3  # of the rise that one busy core brings: so far below the limit a hot board rests
_THROTTLED_NS = 700_000_000
_BUSY = 1.05  # times the idle power

_UNDERVOLTAGE, _THROTTLED = 1 << 0, 1 << 2
_SINCE_BOOT = 16  # bits up: the same, and it stays

# looked_ns, temperature, set clock, clock, stepped_ns, bits; shown: temperature, clock, bits; then ns at each clock.
_STATE = struct.Struct(f"<qdqqqqdqq{MOST_CLOCKS}q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """From a look to the next, at look_ns. stretch: times longer that a run takes. clock: share of the one set."""

    look_ns: int
    stretch: float
    clock: float


class Surroundings:
    """One process uses it at a time; what it knows is kept behind `offset` in the file that all of them map."""

    BYTES = _STATE.size

    def __init__(self, folder: Path, settings: BoardSettings, memory: mmap.mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset
        self._faults = settings.faults
        profile = settings.profile
        self._thermal = profile.thermal
        self._idle_w = profile.power.idle_w
        self._rest_c = self._thermal.rest_c
        if self._faults.hot:
            rise_k = self._thermal.resistance_k_per_w * profile.power.first_core_w
            self._rest_c = self._thermal.throttle_c - _HOT_SHARE * rise_k
        self._profile = profile
        self._clocks_hz = profile.clocks_hz
        self._root = folder / "sys"
        self._tree = SysTree(self._root, profile)

    def begin(self) -> Effect:
        """A batch begins: as after a boot, at the temperature of rest and the clock that is set now."""
        set_clock = self._clocks_hz.index(read_set_clock(self._root, self._profile).frequency_hz)
        state = _State(temperature_c=self._rest_c, set_clock=set_clock, clock=set_clock, at_clock_ns=[0] * MOST_CLOCKS)
        self._keep(state, 0, everything=True)
        return self._effect(0, state)

    def look(self, now_ns: int, drawn_wns: float) -> Effect:
        """drawn_wns: watts x nanoseconds since the last look."""
        state = self._state()
        passed_ns = now_ns - state.looked_ns
        mean_w = drawn_wns / passed_ns if passed_ns else self._idle_w
        state.at_clock_ns[state.clock] += passed_ns
        state.looked_ns = now_ns
        settles_c = self._rest_c + self._thermal.resistance_k_per_w * (mean_w - self._idle_w)
        state.temperature_c = settles_c + (state.temperature_c - settles_c) * exp(
            -passed_ns / 1e9 / self._thermal.time_constant_s
        )
        state.clock = self._throttle(state, now_ns)
        now = _THROTTLED if state.clock != state.set_clock else 0
        if self._faults.undervoltage and mean_w > _BUSY * self._idle_w:
            now |= _UNDERVOLTAGE
        state.bits = now | state.bits >> _SINCE_BOOT << _SINCE_BOOT | now << _SINCE_BOOT
        self._keep(state, now_ns)
        return self._effect(now_ns, state)

    def _throttle(self, state: _State, now_ns: int) -> int:
        """Place of the clock: a step down at the limit and every second above it, back up below the hysteresis."""
        clock, limit_c = state.clock, self._thermal.throttle_c
        if state.temperature_c >= limit_c:
            if clock == state.set_clock or now_ns - state.stepped_ns >= _STEP_NS:
                clock = self._step_below(clock)
                state.stepped_ns = now_ns
        elif state.temperature_c < limit_c - self._thermal.hysteresis_k:
            clock = state.set_clock
        start_ns, end_ns = self._span()
        is_struck = start_ns <= now_ns < end_ns and clock == state.set_clock
        return self._step_below(clock) if is_struck else clock

    def _step_below(self, clock: int) -> int:
        """The next lower clock that the board throttles to; the same where there is none."""
        lower = [hz for hz in self._thermal.clocks_hz if hz < self._clocks_hz[clock]]
        return self._clocks_hz.index(max(lower)) if lower else clock

    def _effect(self, now_ns: int, state: _State) -> Effect:
        share = self._clocks_hz[state.clock] / self._clocks_hz[state.set_clock]
        slower = 1 + self._faults.drift_per_s * now_ns / 1e9
        edges = [edge_ns for edge_ns in self._span() if edge_ns > now_ns]
        return Effect(
            look_ns=min([now_ns + _LOOK_NS, *edges]),
            stretch=slower / (share * (1 - self._faults.contention)),
            clock=share,
        )

    def _span(self) -> tuple[int, int]:
        """In which the clock falls whatever the temperature is; empty without that fault."""
        if self._faults.throttled_at_s is None:
            return 0, 0
        start_ns = round(self._faults.throttled_at_s * 1e9)
        return start_ns, start_ns + _THROTTLED_NS

    def _keep(self, state: _State, now_ns: int, *, everything: bool = False) -> None:
        """Show what changed by a visible step in the fake tree, and remember the rest."""
        tree, clocks = self._tree, self._clocks_hz
        if everything or abs(state.temperature_c - state.shown_c) >= _SHOWN_STEP_C:
            state.shown_c = state.temperature_c
            tree.show_temperature(state.shown_c)
        if everything or state.bits != state.shown_bits:
            state.shown_bits = state.bits
            tree.show_throttled(state.bits)
        if everything or state.clock != state.shown_clock:
            state.shown_clock = state.clock
            tree.show_frequency(clocks[state.clock])
        tree.show_time_in_state(dict(zip(clocks, state.at_clock_ns, strict=False)))
        if self._faults.contention:
            tree.show_cpu_time(now_ns, self._faults.contention)
        _STATE.pack_into(self._memory, self._offset, *state.fields())

    def _state(self) -> _State:
        looked_ns, temperature_c, set_clock, clock, stepped_ns, bits, *more = _STATE.unpack_from(
            self._memory, self._offset
        )
        shown_c, shown_clock, shown_bits, *at_clock_ns = more
        return _State(
            looked_ns=looked_ns,
            temperature_c=temperature_c,
            set_clock=set_clock,
            clock=clock,
            stepped_ns=stepped_ns,
            bits=bits,
            shown_c=shown_c,
            shown_clock=shown_clock,
            shown_bits=shown_bits,
            at_clock_ns=at_clock_ns,
        )


@dataclass(slots=True, kw_only=True)
class _State:
    """set_clock, clock: places in the profile's clocks, of the one that is set and of the present one. bits: as
    get_throttled. shown: what the tree has."""

    temperature_c: float
    set_clock: int
    clock: int
    at_clock_ns: list[int]
    looked_ns: int = 0
    stepped_ns: int = 0
    bits: int = 0
    shown_c: float = 0.0
    shown_clock: int = 0
    shown_bits: int = 0

    def fields(self) -> Sequence[float]:
        return (
            self.looked_ns,
            self.temperature_c,
            self.set_clock,
            self.clock,
            self.stepped_ns,
            self.bits,
            self.shown_c,
            self.shown_clock,
            self.shown_bits,
            *self.at_clock_ns,
        )
