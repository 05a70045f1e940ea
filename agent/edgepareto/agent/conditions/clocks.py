"""Sets the board's clocks, where its owner allows it, and puts them back: fixed while a host holds the lease, or in a
mode for one batch (clock_modes.py).

The lease and not the batch is the time for fixing: a governor that changes voids a batch only where it changes inside
it (docs/measurement.md), and clocks that fell between two batches would have to climb again at the beginning of each.
Nothing here takes throttling away: firmware and thermal governors cap a fixed clock as well.

Kernel: admin-guide/pm/cpufreq, ABI/testing/sysfs-class-devfreq. A Jetson's memory clock: as its own jetson_clocks.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgepareto.agent.conditions.cpufreq import policies
from edgepareto.agent.conditions.jetson import (
    BPMP_EMC,
    NANO_EMC,
    NVPMODEL,
    gpu_clock_folders,
    is_jetson,
    read_power_mode_id,
    set_power_mode,
)
from edgepareto.agent.conditions.reading import natural, text
from edgepareto.agent.errors import ClockError

__all__ = ["ClockFixer", "Setting", "Wanted", "full_speed", "limits", "never_scaling", "setting"]

BOOT_ID = "proc/sys/kernel/random/boot_id"
CPUS = "sys/devices/system/cpu"
ADVICE = "run the agent as root, or open the file to its user (docs/measurement.md, Conditions)"
EMC_CAP = "sys/kernel/nvpmodel_emc_cap/emc_iso_cap"  # of the memory, by the power mode; 0: none
NANO_EMC_MAXIMUM = "sys/kernel/debug/tegra_bwmgr/emc_max_rate"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A file below the root and the text it holds, or shall hold. optional: a board is fixed without it too."""

    file: str
    value: str
    optional: bool = False


Wanted: TypeAlias = Callable[[Path], Iterator[Setting]]  # of a root: in the order of writing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    """What to put back. The files' values end with the boot; the power mode outlives it."""

    boot_id: str | None
    power_mode: int | None
    settings: tuple[Setting, ...]


class ClockFixer:
    """Fixes and restores. One caller at a time; nothing here raises for what the board refuses, it is logged.

    saved: the file that keeps what to put back, written before anything is changed, so that a later process restores
    what a killed one left. power_mode: of nvpmodel, to be set as well, and first. wanted: what is set otherwise.
    """

    def __init__(
        self, sys_root: Path, saved: Path, *, power_mode: int | None = None, wanted: Wanted | None = None
    ) -> None:
        self._root = sys_root
        self._saved = saved
        self._power_mode = power_mode
        self._wanted = wanted or full_speed

    def obstacle(self) -> str | None:
        """Why this agent cannot fix this board's clocks, in one line with what to do; None where it can."""
        if not policies(self._root):
            return f"{self._root / CPUS} has no cpufreq: this board's clocks cannot be set from here"
        if self._power_mode is not None and not (self._root / NVPMODEL).exists():
            return f"power_mode is {self._power_mode}, but there is no {self._root / NVPMODEL}; remove it from [clocks]"
        for setting in self._wanted(self._root):
            path = self._root / setting.file
            if not setting.optional and not os.access(path, os.W_OK, effective_ids=True):
                return f"{path} cannot be written; {ADVICE}"
        return None

    def fix(self) -> None:
        """As `set`, with a line in the log where the board refuses. Conditions.clocks_fixed tells."""
        try:
            self.set()
        except ClockError as error:
            log.warning("clocks are not fixed: %s", error)

    def set(self) -> None:
        """All or nothing, but for a Jetson's memory clock, which only root may set, and a power mode that is not taken.

        Raises ClockError."""
        self.restore()  # else what an earlier one left fixed would pass for the owner's own choice
        before = _present(self._root, self._wanted(self._root))
        mode = read_power_mode_id(self._root)
        changes_mode = self._power_mode is not None and self._power_mode != mode
        saved = _Saved(
            boot_id=text(self._root / BOOT_ID), power_mode=mode if changes_mode else None, settings=tuple(before)
        )
        try:
            self._save(saved)
            if changes_mode:
                self._change_mode(saved)
            for setting in tuple(self._wanted(self._root)):
                self._write(setting)
        except OSError as error:
            advice = f"; {ADVICE}" if isinstance(error, PermissionError) else ""
            self.restore()
            raise ClockError(f"{error.filename}: {error.strerror}{advice}") from error

    def restore(self) -> None:
        """Put back what `fix`, of this or an earlier process, changed. Without such a file nothing is touched."""
        saved = self._read_saved()
        if saved is None:
            return
        settings = saved.settings if saved.boot_id == text(self._root / BOOT_ID) else ()
        if saved.power_mode is not None and not set_power_mode(self._root, saved.power_mode):
            log.warning("the power mode could not be put back: nvpmodel -m %d", saved.power_mode)
        for setting in reversed(settings):
            self._put_back(setting)
        self._saved.unlink(missing_ok=True)

    def _change_mode(self, saved: _Saved) -> None:
        """A mode can switch cores on: what they bring is saved as well before it is changed."""
        assert self._power_mode is not None
        if not set_power_mode(self._root, self._power_mode):
            log.warning("the board did not take power mode %d; set it by hand, it may need a reboot", self._power_mode)
        known = {setting.file for setting in saved.settings}
        more = [s for s in _present(self._root, self._wanted(self._root)) if s.file not in known]
        self._save(_Saved(boot_id=saved.boot_id, power_mode=saved.power_mode, settings=(*saved.settings, *more)))

    def _put_back(self, setting: Setting) -> None:
        try:
            self._write(setting)
        except OSError as error:
            log.warning("%s could not be put back to %s: %s", setting.file, setting.value, error.strerror)

    def _write(self, setting: Setting) -> None:
        """Raises OSError where a file that is not optional refuses."""
        path = self._root / setting.file
        if text(path) == setting.value:
            return
        try:
            path.write_text(setting.value)
        except OSError as error:
            if not setting.optional:
                raise OSError(error.errno, error.strerror, str(path)) from error  # a refused value carries no name
            log.info("%s is not set to %s: %s", path, setting.value, error.strerror)

    def _save(self, saved: _Saved) -> None:
        """Whole or not at all. Raises OSError."""
        content = {
            "boot_id": saved.boot_id,
            "power_mode": saved.power_mode,
            "settings": [[setting.file, setting.value] for setting in saved.settings],
        }
        fresh = self._saved.with_name(self._saved.name + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._saved)

    def _read_saved(self) -> _Saved | None:
        try:
            content = json.loads(self._saved.read_text(encoding="utf-8"))
            settings = tuple(Setting(file=file, value=value) for file, value in content["settings"])
            return _Saved(boot_id=content["boot_id"], power_mode=content["power_mode"], settings=settings)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read, so no clock is put back: %s", self._saved, error)
            return None


def _present(root: Path, wanted: Iterator[Setting]) -> list[Setting]:
    """What those files hold now. One that cannot be read is left out, and so is not put back."""
    held = [(setting, text(root / setting.file)) for setting in wanted]
    return [Setting(file=s.file, value=value, optional=s.optional) for s, value in held if value is not None]


def full_speed(root: Path) -> Iterator[Setting]:
    """Put back in the opposite order. Only what this user can read: debugfs is root's."""
    for policy in policies(root):
        yield from never_scaling(root, policy)
        yield from _lowest_is_highest(root, policy, "scaling_")
    for folder in gpu_clock_folders(root):
        yield from _lowest_is_highest(root, folder, "")
    if is_jetson(root):
        yield from _memory_clock(root)


def never_scaling(root: Path, policy: Path) -> Iterator[Setting]:
    """Its governor, where it has that one."""
    governors = text(policy / "scaling_available_governors")
    if governors is None or "performance" in governors.split():
        yield setting(root, policy / "scaling_governor", "performance")


def limits(root: Path, policy: Path, lowest_khz: int, highest_khz: int) -> Iterator[Setting]:
    """In the order in which the lowest is never above the highest: the kernel may refuse that."""
    lowest = setting(root, policy / "scaling_min_freq", str(lowest_khz))
    highest = setting(root, policy / "scaling_max_freq", str(highest_khz))
    rises = lowest_khz > (natural(policy / "scaling_max_freq") or 0)
    yield from (highest, lowest) if rises else (lowest, highest)


def _lowest_is_highest(root: Path, folder: Path, prefix: str) -> Iterator[Setting]:
    """The highest stays: it is the power mode's, or the owner's."""
    highest = natural(folder / f"{prefix}max_freq")
    if highest is not None and text(folder / f"{prefix}min_freq") is not None:
        yield setting(root, folder / f"{prefix}min_freq", str(highest))


def _memory_clock(root: Path) -> Iterator[Setting]:
    rates = [natural(root / name) for name in (f"{BPMP_EMC}/max_rate", EMC_CAP)]
    highest = min((rate for rate in rates if rate), default=None)
    if highest is not None and text(root / BPMP_EMC / "mrq_rate_locked") is not None:
        yield setting(root, root / BPMP_EMC / "mrq_rate_locked", "1", optional=True)
        yield setting(root, root / BPMP_EMC / "rate", str(highest), optional=True)
    nano_highest = natural(root / NANO_EMC_MAXIMUM)
    if nano_highest is not None and text(root / NANO_EMC / "clk_state") is not None:
        yield setting(root, root / NANO_EMC / "clk_update_rate", str(nano_highest), optional=True)
        yield setting(root, root / NANO_EMC / "clk_state", "1", optional=True)


def setting(root: Path, path: Path, value: str, *, optional: bool = False) -> Setting:
    return Setting(file=str(path.relative_to(root)), value=value, optional=optional)
