"""What only a Jetson tells: the power mode that caps its clocks, and the clocks of its GPU and of its memory."""

from __future__ import annotations

import re
from pathlib import Path

from edgepareto.agent.conditions.reading import answer, natural, text

__all__ = [
    "BPMP_EMC",
    "NANO_EMC",
    "NVPMODEL",
    "gpu_clock_folders",
    "is_jetson",
    "power_modes",
    "read_gpu_frequency_hz",
    "read_memory_frequency_hz",
    "read_power_mode",
    "read_power_mode_id",
    "set_power_mode",
]

NVPMODEL = "usr/sbin/nvpmodel"
STATUS = "var/lib/nvpmodel/status"  # pmode:0002, and on some releases fmode:quiet; nvpmodel keeps its choice here
# The memory's clock (EMC), in debugfs: TX2 to Orin through the boot processor, Nano by itself.
BPMP_EMC = "sys/kernel/debug/bpmp/debug/clk/emc"
NANO_EMC = "sys/kernel/debug/clk/override.emc"
CONFIGURATION = "etc/nvpmodel.conf"  # < POWER_MODEL ID=2 NAME=MAXN >
# As the devices are called: 57000000.gpu (Nano), 17000000.gp10b, .gv11b, .ga10b, .gpu (TX2 to Orin), gpu-gpc-0 (Thor).
GPU_NAME = re.compile(r"gpu|\.g[apv]\d+b$")


def is_jetson(sys_root: Path) -> bool:
    return "nvidia,tegra" in (text(sys_root / "proc/device-tree/compatible") or "")


def read_power_mode(sys_root: Path) -> str | None:
    """nvpmodel's name of the present mode, such as MAXN or 15W; its number where no name is known."""
    mode = read_power_mode_id(sys_root)
    known = (name for name, number in power_modes(sys_root).items() if number == mode)
    return next(known, None if mode is None else str(mode))


def power_modes(sys_root: Path) -> dict[str, int]:
    """nvpmodel's own, their numbers by name."""
    found = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", text(sys_root / CONFIGURATION) or "")
    return {name: int(number) for number, name in found}


def read_power_mode_id(sys_root: Path) -> int | None:
    """From the file in which nvpmodel keeps it; it is asked itself only where that file does not exist yet."""
    found = re.search(r"pmode:(\d+)", text(sys_root / STATUS) or "")
    if found is None:
        found = re.search(r"NV Power Mode:.*\n(\d+)", answer(sys_root / NVPMODEL, "-q") or "")
    return None if found is None else int(found[1])


def set_power_mode(sys_root: Path, mode: int) -> bool:
    """Whether the board is in this mode now. One that needs a reboot is not taken: nobody is there to confirm it."""
    answer(sys_root / NVPMODEL, "-m", str(mode))
    return read_power_mode_id(sys_root) == mode


def gpu_clock_folders(sys_root: Path) -> tuple[Path, ...]:
    """The devfreq folders of a Jetson's GPU; empty on other boards, where a GPU does not run our models."""
    if not is_jetson(sys_root):
        return ()
    folders = sorted((sys_root / "sys/class/devfreq").glob("*"))
    return tuple(folder for folder in folders if GPU_NAME.search(folder.name))


def read_gpu_frequency_hz(sys_root: Path) -> float | None:
    """The fastest GPU clock. None where the board is no Jetson."""
    clocks = [hz for folder in gpu_clock_folders(sys_root) if (hz := natural(folder / "cur_freq")) is not None]
    return float(max(clocks)) if clocks else None


def read_memory_frequency_hz(sys_root: Path) -> float | None:
    """None where the board is no Jetson, or this user may not look into debugfs."""
    rates = [natural(sys_root / name) for name in (f"{BPMP_EMC}/rate", f"{NANO_EMC}/clk_rate")]
    return next((float(hz) for hz in rates if hz is not None), None)
