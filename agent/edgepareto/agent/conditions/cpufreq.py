"""The clocks of the CPU cores: what frequency, for how long, and whether they scale at all.

Kernel: admin-guide/pm/cpufreq and cpu-freq/cpufreq-stats. A policy is a group of cores with one clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepareto.agent.conditions.reading import natural, text

__all__ = ["clocks_fixed", "mean_frequency_hz", "policies", "read_frequency_hz", "read_governor", "read_time_in_state"]

TIME_UNIT_MS = 10  # of time_in_state: clock_t, USER_HZ = 100 on every architecture
NEVER_SCALING = frozenset({"performance", "userspace"})
SCALING_IN_HARDWARE = ("intel_pstate", "amd-pstate-epp")  # there a governor's name is only a hint


def policies(sys_root: Path) -> tuple[Path, ...]:
    """Their folders. One whose cores are all off answers every question with EBUSY, and is left out."""
    cpus = sys_root / "sys/devices/system/cpu"
    folders = sorted(cpus.glob("cpufreq/policy*")) or sorted(cpus.glob("cpu[0-9]*/cpufreq"))
    return tuple(folder for folder in folders if text(folder / "scaling_governor") or _frequency(folder) is not None)


def read_frequency_hz(sys_root: Path) -> float | None:
    """The fastest core's, for the one that works is among them."""
    frequencies = [khz for policy in policies(sys_root) if (khz := _frequency(policy)) is not None]
    return max(frequencies) * 1000.0 if frequencies else None


def read_governor(sys_root: Path) -> str | None:
    """All that are in use, in alphabetical order."""
    names = {name for policy in policies(sys_root) if (name := text(policy / "scaling_governor"))}
    return ",".join(sorted(names)) or None


def read_time_in_state(sys_root: Path) -> tuple[tuple[int, int], ...]:
    """(Hz, ms) of the policy with the highest maximum: on big.LITTLE boards the cores that a model runs on."""
    best: tuple[tuple[int, int], ...] = ()
    highest_khz = -1
    for policy in policies(sys_root):
        khz = natural(policy / "cpuinfo_max_freq") or 0
        states = _states(policy)
        if states and khz > highest_khz:
            best, highest_khz = states, khz
    return best


def mean_frequency_hz(before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]]) -> float | None:
    """Time-weighted, between two readings of time_in_state.

    None: a reading is missing, less than the unit of 10 ms has passed, or the counters were set back in between.
    """
    earlier = dict(before)
    spent_ms = {hz: ms - earlier.get(hz, 0) for hz, ms in after} if earlier else {}
    total_ms = sum(spent_ms.values())
    if total_ms <= 0 or min(spent_ms.values()) < 0:
        return None
    return sum(hz * ms for hz, ms in spent_ms.items()) / total_ms


def clocks_fixed(sys_root: Path, gpu_folders: Sequence[Path] = ()) -> bool | None:
    """Whether no policy may scale: its lowest frequency is its highest, or its governor never asks for another one.

    The same of the GPU's devfreq folders. None: the board has no cpufreq. Throttling is another thing: it takes a fixed
    clock down as well.
    """
    folders = policies(sys_root)
    if not folders:
        return None
    return all(_is_fixed(folder, "scaling_") for folder in folders) and all(
        _is_fixed(folder, "") for folder in gpu_folders
    )


def _is_fixed(folder: Path, prefix: str) -> bool:
    lowest, highest = natural(folder / f"{prefix}min_freq"), natural(folder / f"{prefix}max_freq")
    if lowest is not None and lowest == highest:
        return True
    in_hardware = text(folder / "scaling_driver") in SCALING_IN_HARDWARE
    return not in_hardware and text(folder / f"{prefix}governor") in NEVER_SCALING


def _frequency(policy: Path) -> int | None:
    return natural(policy / "scaling_cur_freq")


def _states(policy: Path) -> tuple[tuple[int, int], ...]:
    """Lines of kHz and time."""
    pairs = [line.split() for line in (text(policy / "stats/time_in_state") or "").splitlines()]
    return tuple(
        (int(pair[0]) * 1000, int(pair[1]) * TIME_UNIT_MS)
        for pair in pairs
        if len(pair) == 2 and pair[0].isdigit() and pair[1].isdigit()
    )
