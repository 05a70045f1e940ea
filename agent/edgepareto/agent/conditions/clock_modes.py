"""The clock modes that a host may ask for: what each sets, and whether the board still holds it.

What can be set is spelled out here and nothing else: a governor that cpufreq offers, one of its frequencies, or one of
nvpmodel's modes. Every one is fixed where it can be, so that a number does not depend on what ran before.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from edgepareto.agent.conditions.clocks import ClockFixer, Setting, Wanted, full_speed, limits, never_scaling, setting
from edgepareto.agent.conditions.cpufreq import policies
from edgepareto.agent.conditions.jetson import NVPMODEL, power_modes, read_power_mode, read_power_mode_id
from edgepareto.agent.conditions.reading import natural, text
from edgepareto.agent.errors import ClockError

__all__ = ["MODE_NAME", "ClockMode", "ClockModes", "ClockSetter", "clock_mode", "fixer_of", "offered_modes"]

MODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,31}")
FREQUENCY = re.compile(r"([0-9]{2,5})MHz")
CPUS = "sys/devices/system/cpu"
SCALING = ("ondemand", "conservative", "schedutil")  # governors that follow the load
MOST_OFF = 0.02  # of a clock that was set: cpufreq rounds to what the hardware has
# There scaling_cur_freq is what the core really did on average, also asleep, and not what it was told to.
TELLS_AVERAGE = ("intel", "amd", "acpi", "pcc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockMode:
    """power_mode: of nvpmodel; None: it stays. wanted: the files that hold it, each with its value."""

    name: str
    power_mode: int | None
    wanted: Wanted


class ClockSetter(Protocol):
    """What sets a mode, and puts back what was before also where its caller dies. One caller at a time."""

    def offered(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those that it would set. What a killed process left is put back. Raises ClockError where it sets none."""
        ...

    def set(self, name: str) -> None:
        """Raises ClockError; then all is as before."""
        ...

    def release(self) -> None:
        """Put back; does nothing where nothing is set. Never raises: what cannot be put back is logged."""
        ...


class ClockModes:
    """A board's, for its batches. Thread-safe: a lease may end while a batch begins or ends.

    names: those that may be asked for.
    """

    def __init__(self, sys_root: Path, names: Sequence[str], setter: ClockSetter) -> None:
        self.names = tuple(names)
        self._root = sys_root
        self._setter = setter
        self._lock = threading.Lock()
        self._held: _Held | None = None

    def set(self, name: str) -> None:
        """Whether the board holds it is `deviation`'s to say. Raises ClockError."""
        with self._lock:
            mode = clock_mode(self._root, name)
            self._setter.set(name)
            self._held = _Held.now(self._root, mode)

    def deviation(self, *, at_rest: bool = False) -> str | None:
        """How the board differs from the mode that was set, by what its files say now; None: it does not.

        at_rest: nothing slows it down, and it had a moment, so that its clock must be the one that was set.
        """
        with self._lock:
            return None if self._held is None else self._held.deviation(self._root, at_rest=at_rest)

    def release(self, then: Callable[[], None] | None = None) -> None:
        """Put back what was before. then: called before another mode can be set."""
        with self._lock:
            if self._held is not None:
                self._held = None
                self._setter.release()
            if then is not None:
                then()


def clock_mode(root: Path, name: str) -> ClockMode:
    """Raises ClockError where the board has no such mode, with those that it has."""
    if MODE_NAME.fullmatch(name) is None:
        raise ClockError(f"clock mode {name!r}: a name is letters, digits and . _ + -, at most 32")
    if not policies(root):
        raise ClockError(f"clock mode {name}: {root / CPUS} has no cpufreq, so nothing can be set here")
    of_nvpmodel = power_modes(root) if (root / NVPMODEL).exists() else {}
    if name in of_nvpmodel:
        return ClockMode(name=name, power_mode=of_nvpmodel[name], wanted=full_speed)
    frequencies, governors = _frequencies(root), _governors(root)
    found = FREQUENCY.fullmatch(name)
    khz = None if found is None else frequencies.khz(int(found[1]))
    if khz is not None:
        return ClockMode(name=name, power_mode=None, wanted=partial(_at_frequency, khz=khz))
    if name in governors:
        return ClockMode(name=name, power_mode=None, wanted=governors[name])
    known = [*of_nvpmodel, *frequencies.names, *governors]
    raise ClockError(f"clock mode {name}: this board has {', '.join(known) or 'none'}")


def fixer_of(root: Path, saved: Path, mode: ClockMode) -> ClockFixer:
    return ClockFixer(root, saved, power_mode=mode.power_mode, wanted=mode.wanted)


def offered_modes(root: Path, names: Sequence[str], setter: ClockSetter) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of those that the owner allows the ones that this board and the setter have; and a line about each other one."""
    if names and not policies(root):
        return (), (f"no clock mode is offered: {root / CPUS} has no cpufreq, so nothing can be set here",)
    problems = {name: problem for name in names if (problem := _problem(root, name))}
    possible = [name for name in names if name not in problems]
    try:
        offered = setter.offered(possible)
    except ClockError as error:
        return (), (*problems.values(), f"no clock mode is offered: {error}")
    unlisted = (name for name in possible if name not in offered)
    return offered, (*problems.values(), *(f"clock mode {name}: not allowed to this agent" for name in unlisted))


def _problem(root: Path, name: str) -> str | None:
    try:
        clock_mode(root, name)
    except ClockError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What the board's files held when the mode had been set. wanted: of these, what they had to hold."""

    mode: ClockMode
    wanted: Mapping[str, str]
    highest: Mapping[str, str | None]

    @classmethod
    def now(cls, root: Path, mode: ClockMode) -> _Held:
        wanted = {one.file: one.value for one in mode.wanted(root) if not one.optional}
        return cls(mode=mode, wanted=wanted, highest=_highest(root))

    def deviation(self, root: Path, *, at_rest: bool) -> str | None:
        if self.mode.power_mode is not None and read_power_mode_id(root) != self.mode.power_mode:
            return f"its power mode is {read_power_mode(root) or 'unknown'}"
        for file, value in (*self.wanted.items(), *self.highest.items()):
            seen = text(root / file)
            if seen != value:
                return f"{root / file} holds {seen or 'nothing'}, not {value}"
        return next(filter(None, map(_off_clock, policies(root))), None) if at_rest else None


def _highest(root: Path) -> dict[str, str | None]:
    files = [policy / "scaling_max_freq" for policy in policies(root)]
    return {str(file.relative_to(root)): text(file) for file in files}


def _off_clock(policy: Path) -> str | None:
    """Whether the clock lies outside its own limits."""
    if (text(policy / "scaling_driver") or "").startswith(TELLS_AVERAGE):
        return None
    khz = natural(policy / "scaling_cur_freq")
    lowest, highest = natural(policy / "scaling_min_freq"), natural(policy / "scaling_max_freq")
    if khz is None or lowest is None or highest is None:
        return None
    if not lowest * (1 - MOST_OFF) <= khz <= highest * (1 + MOST_OFF):
        wanted = f"{lowest / 1000:.0f}" if lowest == highest else f"{lowest / 1000:.0f} to {highest / 1000:.0f}"
        return f"{policy.name} runs at {khz / 1000:.0f} MHz, not {wanted}"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frequencies:
    """Of the fastest cores. listed_khz: empty where the driver takes any within its limits."""

    listed_khz: tuple[int, ...]
    limits_khz: tuple[int, int] | None

    @property
    def names(self) -> tuple[str, ...]:
        if self.limits_khz is None or self.listed_khz:
            return tuple(f"{round(khz / 1000)}MHz" for khz in sorted(self.listed_khz))
        lowest, highest = self.limits_khz
        return (f"{-(-lowest // 1000)}MHz to {highest // 1000}MHz",)

    def khz(self, mhz: int) -> int | None:
        """None: there is no such clock."""
        if self.listed_khz:
            return next((khz for khz in self.listed_khz if round(khz / 1000) == mhz), None)
        is_within = self.limits_khz is not None and self.limits_khz[0] <= mhz * 1000 <= self.limits_khz[1]
        return mhz * 1000 if is_within else None


def _frequencies(root: Path) -> _Frequencies:
    fastest = max(policies(root), key=lambda policy: natural(policy / "cpuinfo_max_freq") or 0)
    lowest, highest = natural(fastest / "cpuinfo_min_freq"), natural(fastest / "cpuinfo_max_freq")
    limits_khz = None if lowest is None or highest is None else (lowest, highest)
    return _Frequencies(listed_khz=_listed_khz(fastest), limits_khz=limits_khz)


def _listed_khz(policy: Path) -> tuple[int, ...]:
    return tuple(int(word) for word in (text(policy / "scaling_available_frequencies") or "").split() if word.isdigit())


def _at_frequency(root: Path, *, khz: int) -> Iterator[Setting]:
    """Slower cores than the fastest run at the nearest that they have."""
    for policy in policies(root):
        yield from never_scaling(root, policy)
        listed = _listed_khz(policy)
        near = max((one for one in listed if one <= khz), default=min(listed, default=khz))
        highest = natural(policy / "cpuinfo_max_freq")
        own_khz = near if highest is None else min(near, highest)
        yield from limits(root, policy, own_khz, own_khz)


def _governors(root: Path) -> dict[str, Wanted]:
    """By name, those that all cores have."""
    lists = [set((text(policy / "scaling_available_governors") or "").split()) for policy in policies(root)]
    common = set.intersection(*lists)
    modes: dict[str, Wanted] = {name: partial(_scaling, governor=name) for name in SCALING}
    modes |= {"performance": full_speed, "powersave": _lowest_speed}
    return {name: wanted for name, wanted in sorted(modes.items()) if name in common}


def _lowest_speed(root: Path) -> Iterator[Setting]:
    for policy in policies(root):
        yield setting(root, policy / "scaling_governor", "powersave")
        lowest = natural(policy / "cpuinfo_min_freq")
        if lowest is not None:
            yield from limits(root, policy, lowest, lowest)


def _scaling(root: Path, *, governor: str) -> Iterator[Setting]:
    """From the lowest clock on, also where `fix` holds it at the highest."""
    for policy in policies(root):
        yield setting(root, policy / "scaling_governor", governor)
        lowest = natural(policy / "cpuinfo_min_freq")
        if lowest is not None:
            yield setting(root, policy / "scaling_min_freq", str(lowest))
