"""The state of a Linux board, read below one root so that a fake tree tests it; and what its CPU time tells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.conditions.cpufreq import clocks_fixed, read_frequency_hz, read_governor, read_time_in_state
from edgepareto.agent.conditions.jetson import (
    gpu_clock_folders,
    read_gpu_frequency_hz,
    read_memory_frequency_hz,
    read_power_mode,
)
from edgepareto.agent.conditions.raspberry_pi import read_throttle_bits
from edgepareto.agent.conditions.reading import text
from edgepareto.agent.conditions.thermal import read_fan_level, read_temperature_c

__all__ = [
    "Conditions",
    "CpuTime",
    "Memory",
    "contention",
    "read_conditions",
    "read_cpu_time",
    "read_memory",
    "read_process_ticks",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """None: this box does not tell. contention: share of CPU time used by others, 0..1.

    throttle_bits: as get_throttled of a Raspberry Pi: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft limit,
    now; 16 to 19 the same since boot. power_mode: nvpmodel's on a Jetson. fan_level: cooling state, 0 off.
    time_in_state: of the fastest cores, (Hz, ms since boot) per frequency; empty: not told. clocks_fixed: none scales,
    of the CPU and of a Jetson's GPU (cpufreq.clocks_fixed). gpu and memory: a Jetson's, the latter told to root only.
    """

    temperature_c: float | None = None
    frequency_hz: float | None = None
    governor: str | None = None
    throttle_bits: int | None = None
    contention: float | None = None
    free_memory_bytes: int | None = None
    power_mode: str | None = None
    fan_level: int | None = None
    time_in_state: tuple[tuple[int, int], ...] = ()
    clocks_fixed: bool | None = None
    gpu_frequency_hz: float | None = None
    memory_frequency_hz: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTime:
    """Of all cores since boot, in clock ticks. busy includes what a hypervisor took away (steal)."""

    busy: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """available_bytes: what a program may take without swapping."""

    total_bytes: int
    available_bytes: int


def read_conditions(sys_root: Path, *, contention: float | None = None) -> Conditions:
    """The board now. contention needs two instants, so the caller gives it.

    Source of each: the modules beside this one.
    """
    memory = read_memory(sys_root)
    return Conditions(
        temperature_c=read_temperature_c(sys_root),
        frequency_hz=read_frequency_hz(sys_root),
        governor=read_governor(sys_root),
        throttle_bits=read_throttle_bits(sys_root),
        contention=contention,
        free_memory_bytes=None if memory is None else memory.available_bytes,
        power_mode=read_power_mode(sys_root),
        fan_level=read_fan_level(sys_root),
        time_in_state=read_time_in_state(sys_root),
        clocks_fixed=clocks_fixed(sys_root, gpu_clock_folders(sys_root)),
        gpu_frequency_hz=read_gpu_frequency_hz(sys_root),
        memory_frequency_hz=read_memory_frequency_hz(sys_root),
    )


def read_memory(sys_root: Path) -> Memory | None:
    """proc_meminfo(5); None where there is none."""
    told = {}
    for line in (text(sys_root / "proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            told[name] = int(value.split()[0]) * 1024
    if "MemAvailable" not in told:
        return None
    return Memory(total_bytes=told.get("MemTotal", 0), available_bytes=told["MemAvailable"])


def read_cpu_time(sys_root: Path) -> CpuTime | None:
    """The first line of /proc/stat (proc_stat(5)); None where there is none.

    user nice system idle iowait irq softirq steal; the two guest columns after them are already counted in user.
    """
    columns = (text(sys_root / "proc/stat") or "").partition("\n")[0].split()
    if len(columns) < 9 or columns[0] != "cpu":
        return None
    ticks = [int(column) for column in columns[1:9]]
    return CpuTime(busy=sum(ticks) - ticks[3] - ticks[4], total=sum(ticks))


def read_process_ticks(sys_root: Path, pids: Iterable[int]) -> int:
    """CPU time that these processes and the programs they ran have used, in clock ticks; 0 for a dead one.

    utime, stime, cutime and cstime of proc_pid_stat(5).
    """
    ticks = 0
    for pid in pids:
        after_name = (text(sys_root / f"proc/{pid}/stat") or "").rpartition(")")[2].split()  # the name may hold blanks
        ticks += sum(map(int, after_name[11:15]))
    return ticks


def contention(before: CpuTime | None, after: CpuTime | None, *, own_ticks: int = 0) -> float | None:
    """Share of the CPU time between two instants that others used; own_ticks is what we used ourselves.

    None: the box does not tell, or no time has passed on it.
    """
    if before is None or after is None or after.total <= before.total:
        return None
    others = after.busy - before.busy - own_ticks
    return min(1.0, max(0.0, others / (after.total - before.total)))
