"""A fake /sys and /proc for a simulated board: the files that conditions/ reads, at rest."""

from __future__ import annotations

from pathlib import Path

from edgepareto.agent.simulation.profile import BoardProfile

__all__ = ["write_sys_tree"]


def write_sys_tree(root: Path, profile: BoardProfile, boot_id: str) -> None:
    """root stands for /. Nothing else runs on the board: the counters of /proc/stat stand still."""
    frequency_khz = round(profile.frequency_hz / 1000)
    cpus = range(profile.cpu_count)
    idle_line = "0 0 0 100000 0 0 0 0 0 0"
    total_kb = profile.memory_bytes // 1024
    _write(root / "proc/stat", "\n".join([f"cpu  {idle_line}", *(f"cpu{cpu} {idle_line}" for cpu in cpus), "btime 0"]))
    _write(
        root / "proc/meminfo",
        f"MemTotal: {total_kb} kB\nMemFree: {total_kb * 3 // 4} kB\nMemAvailable: {total_kb * 4 // 5} kB",
    )
    _write(root / "proc/loadavg", "0.00 0.00 0.00 1/100 1")
    _write(root / "proc/sys/kernel/random/boot_id", boot_id)
    _write(root / "sys/class/thermal/thermal_zone0/type", "cpu-thermal")
    _write(root / "sys/class/thermal/thermal_zone0/temp", str(round(profile.idle_temperature_c * 1000)))
    for cpu in cpus:
        cpufreq = root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        _write(cpufreq / "scaling_governor", "performance")
        for name in ("scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", "cpuinfo_max_freq"):
            _write(cpufreq / name, str(frequency_khz))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="ascii")
