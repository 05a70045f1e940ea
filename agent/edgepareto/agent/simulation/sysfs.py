"""A fake /sys and /proc for a simulated board: the files that conditions/ reads, at the kernel's own paths.

Kernel documentation: thermal/sysfs-api, admin-guide/pm/cpufreq, cpu-freq/cpufreq-stats; get_throttled is the Raspberry
Pi firmware driver's. What changes is written in place by one call, which costs a microsecond and not a tenth of a
millisecond as a new file does, and leaves a reader in no doubt.

What the agent writes there counts: the limits of cpufreq, and nvpmodel, are how a board's clocks are set.
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.simulation.profile import BoardProfile

__all__ = ["SetClock", "SysTree", "read_set_clock", "write_sys_tree"]

_ZONE = "sys/class/thermal/thermal_zone0"
_FAN = "sys/class/thermal/cooling_device0"
_POLICY = "sys/devices/system/cpu/cpufreq/policy0"
_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_HIGHEST = _POLICY + "/scaling_max_freq"
_POWER_MODE = "var/lib/nvpmodel/status"
_NVPMODEL = "usr/sbin/nvpmodel"
_NS_PER_TICK = 10_000_000  # USER_HZ is 100, in /proc/stat and in time_in_state


def write_sys_tree(root: Path, profile: BoardProfile, boot_id: str, *, available_bytes: int | None = None) -> None:
    """Anew, what never changes while the board runs. root stands for /. available_bytes None: four fifths of all."""
    shutil.rmtree(root, ignore_errors=True)
    total_kb = profile.memory_bytes // 1024
    available_kb = total_kb * 4 // 5 if available_bytes is None else available_bytes // 1024
    _write(
        root / "proc/meminfo",
        f"MemTotal: {total_kb} kB\nMemFree: {min(total_kb * 3 // 4, available_kb)} kB\nMemAvailable: {available_kb} kB",
    )
    _write(root / "proc/loadavg", "0.00 0.00 0.00 1/100 1")
    _write(root / "proc/sys/kernel/random/boot_id", boot_id)
    for name, strings in (("model", [profile.model]), ("compatible", profile.compatible)):
        _write(root / "sys/firmware/devicetree/base" / name, "".join(string + "\0" for string in strings), end="")
    (root / "proc/device-tree").symlink_to("../sys/firmware/devicetree/base")
    _write(root / _ZONE / "type", "cpu-thermal" if profile.has_throttle_bits else "CPU-therm")
    if not profile.has_throttle_bits:
        _write(root / _ZONE / "trip_point_0_type", "passive")
        _write(root / _ZONE / "trip_point_0_temp", str(round(profile.thermal.throttle_c * 1000)))
    cpus = range(profile.cpu_count)
    _write(root / _POLICY / "related_cpus", " ".join(map(str, cpus)))
    _write(root / _POLICY / "scaling_governor", "performance")
    _write(root / _POLICY / "scaling_available_governors", "performance powersave")
    available_khz = sorted(hz // 1000 for hz in profile.clocks.available_hz)
    _write(root / _POLICY / "scaling_available_frequencies", " ".join(map(str, available_khz)))
    _write(root / _POLICY / "cpuinfo_min_freq", str(available_khz[0]))
    for name in ("scaling_min_freq", "scaling_max_freq", "cpuinfo_max_freq"):
        _write(root / _POLICY / name, str(profile.clocks.full_hz // 1000))
    for cpu in cpus:
        folder = root / f"sys/devices/system/cpu/cpu{cpu}"
        folder.mkdir()
        (folder / "cpufreq").symlink_to("../cpufreq/policy0")
    if profile.fan_level is not None:
        _write(root / _FAN / "type", "pwm-fan")
        _write(root / _FAN / "max_state", "4")
        _write(root / _FAN / "cur_state", str(profile.fan_level))
    if profile.clocks.power_modes:
        _write_nvpmodel(root, profile)
    SysTree(root, profile).show_cpu_time(0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetClock:
    """What the cores' clock is set to, as long as nothing throttles it, and how many of them are on.

    gpu_share: the GPU's clock, over that of the board as it is.
    """

    frequency_hz: int
    cores: int
    gpu_share: float


def read_set_clock(root: Path, profile: BoardProfile) -> SetClock:
    """As the kernel would take what stands in the tree: the nearest clock that the board has and that is allowed."""
    allowed_hz = int((root / _HIGHEST).read_text()) * 1000
    frequency_hz = max((hz for hz in profile.clocks_hz if hz <= allowed_hz), default=profile.clocks_hz[-1])
    modes = profile.clocks.power_modes
    if not modes:
        return SetClock(frequency_hz=frequency_hz, cores=profile.cpu_count, gpu_share=1.0)
    mode = modes[int((root / _POWER_MODE).read_text().partition(":")[2])]
    return SetClock(
        frequency_hz=min(frequency_hz, mode.frequency_hz), cores=mode.cores, gpu_share=mode.gpu_hz / modes[0].gpu_hz
    )


class SysTree:
    """What changes while the board runs."""

    def __init__(self, root: Path, profile: BoardProfile) -> None:
        self._root = root
        self._profile = profile
        self._files: dict[str, int] = {}
        weakref.finalize(self, _close, self._files)

    def show_temperature(self, temperature_c: float) -> None:
        self._show(_ZONE + "/temp", str(round(temperature_c * 1000)))

    def show_frequency(self, clock_hz: int) -> None:
        for name in ("scaling_cur_freq", "cpuinfo_cur_freq"):
            self._show(f"{_POLICY}/{name}", str(clock_hz // 1000))

    def show_throttled(self, bits: int) -> None:
        """Nothing where no firmware tells it."""
        if self._profile.has_throttle_bits:
            self._show(_THROTTLED, f"{bits:x}")

    def show_time_in_state(self, at_clock_ns: Mapping[int, int]) -> None:
        lines = (f"{clock_hz // 1000} {ns // _NS_PER_TICK}" for clock_hz, ns in sorted(at_clock_ns.items()))
        self._show(_POLICY + "/stats/time_in_state", "\n".join(lines))

    def show_cpu_time(self, now_ns: int, others: float) -> None:
        """others: share of every core that other programs use, 0..1; what the agent's use is not in it."""
        cpus, ticks = self._profile.cpu_count, 1000 + now_ns // _NS_PER_TICK
        busy = round(others * ticks)
        lines = [f"cpu{cpu} {busy} 0 0 {ticks - busy} 0 0 0 0 0 0" for cpu in range(cpus)]
        total = f"cpu  {busy * cpus} 0 0 {(ticks - busy) * cpus} 0 0 0 0 0 0"
        self._show("proc/stat", "\n".join([total, *lines, "btime 0"]))

    def _show(self, name: str, text: str) -> None:
        """Never empty and never two values mixed: what is longer than the text is overwritten, then cut off."""
        file = self._files.get(name)
        if file is None:
            path = self._root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            file = self._files[name] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        data = text.encode("ascii") + b"\n"
        size = os.fstat(file).st_size
        os.pwrite(file, data.ljust(size, b"\n"), 0)
        if size > len(data):
            os.ftruncate(file, len(data))


def _close(files: Mapping[str, int]) -> None:
    for file in files.values():
        os.close(file)


def _write_nvpmodel(root: Path, profile: BoardProfile) -> None:
    """Its names and its choice, and the program itself, which is all that may change them."""
    modes = profile.clocks.power_modes
    names = "\n".join(f"< POWER_MODEL ID={number} NAME={mode.name} >" for number, mode in enumerate(modes))
    _write(root / "etc/nvpmodel.conf", names)
    _write(root / _POWER_MODE, "pmode:0000")
    cases = " ".join(f"{number}) khz={mode.frequency_hz // 1000} ;;" for number, mode in enumerate(modes))
    lines = (
        "#!/bin/sh",
        'cd "${0%/*}/../.." && [ "$1" = -m ] || exit 1',
        f"case $2 in {cases} *) exit 1 ;; esac",
        f"for limit in min max; do echo $khz > {_POLICY}/scaling_${{limit}}_freq; done",
        f'printf "pmode:%04d\\n" "$2" > {_POWER_MODE}',
    )
    _write(root / _NVPMODEL, "\n".join(lines))
    (root / _NVPMODEL).chmod(0o755)


def _write(path: Path, text: str, *, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + end, encoding="ascii")
