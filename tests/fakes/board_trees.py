"""The files and programs of real boards that conditions/ reads, each below a folder that stands for /.

Values are those of boards at rest, as logs and manuals show them; a Raspberry Pi's and a Jetson's programs are scripts
that answer with their words. Each test changes what it is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

BOOT_ID = "proc/sys/kernel/random/boot_id"
THROTTLED_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"


def write_tree(root: Path, files: Mapping[str, str]) -> Path:
    """Each text with the newline that the kernel ends a value with."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def write_program(root: Path, name: str, *lines: str) -> Path:
    """A shell script; $ROOT is the root."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", f"ROOT='{root}'", *lines, ""]))
    path.chmod(0o755)
    return path


def raspberry_pi_4(root: Path) -> Path:
    """vcgencmd and no fan; its thermal zone has a critical trip point only, the firmware does the rest."""
    write_program(root, "usr/bin/vcgencmd", '[ "$1" = get_throttled ] && echo throttled=0x50000')
    return write_tree(
        root,
        {
            **linux_box("6d4a6e0e-1111-2222-3333-444455556666"),
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0",
            "dev/vcio": "",
            THROTTLED_FILE: "0",
            **zone(0, "cpu-thermal", "48199", trips=[("critical", 110000)]),
            **policy(0, 600_000, 1_800_000, now=700_000, governor="ondemand", times=["600000 9120", "1800000 417"]),
        },
    )


def raspberry_pi_5(root: Path) -> Path:
    """With its active cooler: the steps of the fan are trip points of the CPU's zone."""
    write_program(root, "usr/bin/vcgencmd", "echo throttled=0x0")
    fan_steps = [("active", 50000), ("active", 60000), ("active", 67500), ("active", 75000), ("critical", 110000)]
    return write_tree(
        root,
        {
            **linux_box("50000000-1111-2222-3333-444455556666"),
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
            "dev/vcio": "",
            **zone(0, "cpu-thermal", "52350", trips=fan_steps),
            "sys/class/thermal/cooling_device0/type": "cpufreq-cpu0",
            "sys/class/thermal/cooling_device0/cur_state": "3",
            "sys/class/thermal/cooling_device1/type": "pwm-fan",
            "sys/class/thermal/cooling_device1/cur_state": "1",
            "sys/class/hwmon/hwmon2/name": "pwmfan",
            "sys/class/hwmon/hwmon2/pwm1": "75",
            **policy(0, 1_500_000, 2_400_000, now=1_500_000, governor="ondemand", times=["1500000 800", "2400000 200"]),
        },
    )


def jetson_nano(root: Path) -> Path:
    """JetPack 4: nvpmodel's status, a fan without a cooling device, and a zone that always says 100 degrees."""
    return write_tree(
        root,
        {
            **linux_box("a0000000-1111-2222-3333-444455556666"),
            "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3450-0000\0nvidia,tegra210\0",
            "etc/nvpmodel.conf": NANO_MODES,
            "var/lib/nvpmodel/status": "pmode:0001",
            **zone(0, "AO-therm", "38500"),
            **zone(1, "CPU-therm", "31000", trips=[("passive", 97000), ("hot", 100500), ("critical", 102500)]),
            **zone(2, "GPU-therm", "29500", trips=[("passive", 97500)]),
            **zone(3, "PMIC-Die", "100000"),
            **zone(4, "thermal-fan-est", "30250", trips=[("active", 51000)]),
            "sys/devices/pwm-fan/cur_pwm": "80",
            "sys/class/devfreq/57000000.gpu/min_freq": "76800000",
            "sys/class/devfreq/57000000.gpu/max_freq": "640000000",
            "sys/class/devfreq/57000000.gpu/cur_freq": "76800000",
            "sys/class/devfreq/57000000.gpu/governor": "nvhost_podgov",
            "sys/class/devfreq/57000000.vic/min_freq": "1",
            "sys/class/devfreq/57000000.vic/max_freq": "2",
            **policy(0, 102_000, 918_000, now=918_000, governor="schedutil", times=["102000 5", "918000 40"]),
            "sys/kernel/debug/tegra_bwmgr/emc_max_rate": "1600000000",
            "sys/kernel/debug/clk/override.emc/clk_update_rate": "204000000",
            "sys/kernel/debug/clk/override.emc/clk_rate": "1600000000",
            "sys/kernel/debug/clk/override.emc/clk_state": "0",
        },
    )


def jetson_orin_nano(root: Path) -> Path:
    """JetPack 6: two clusters, and a GPU that is asleep and then tells -256 degrees."""
    write_program(
        root,
        "usr/sbin/nvpmodel",
        '[ "$1" = -q ] && { echo "NV Power Mode: 15W"; echo 0; exit; }',
        'printf "pmode:%04d\\n" "$2" > "$ROOT/var/lib/nvpmodel/status"',
    )
    emc = "sys/kernel/debug/bpmp/debug/clk/emc"
    return write_tree(
        root,
        {
            **linux_box("0b000000-1111-2222-3333-444455556666"),
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
            "etc/nvpmodel.conf": ORIN_NANO_MODES,
            "var/lib/nvpmodel/status": "pmode:0000 fmode:quiet",
            **zone(0, "cpu-thermal", "49718", trips=[("passive", 99000), ("critical", 104500)]),
            **zone(1, "gpu-thermal", "-256000", trips=[("passive", 99000)]),
            **zone(2, "tj-thermal", "50125", trips=[("active", 35000), ("passive", 99500)]),
            "sys/class/thermal/cooling_device0/type": "pwm-fan",
            "sys/class/thermal/cooling_device0/cur_state": "2",
            "sys/class/devfreq/17000000.gpu/min_freq": "306000000",
            "sys/class/devfreq/17000000.gpu/max_freq": "612000000",
            "sys/class/devfreq/17000000.gpu/cur_freq": "510000000",
            "sys/class/devfreq/17000000.gpu/governor": "nvhost_podgov",
            **policy(0, 115_200, 1_497_600, now=729_600, governor="schedutil", times=["729600 70", "1497600 30"]),
            **policy(4, 115_200, 1_510_400, now=1_510_400, governor="schedutil", times=["729600 10", "1510400 90"]),
            f"{emc}/max_rate": "3199000000",
            f"{emc}/rate": "204000000",
            f"{emc}/mrq_rate_locked": "0",
            "sys/kernel/nvpmodel_emc_cap/emc_iso_cap": "2133000000",
        },
    )


def plain_linux(root: Path) -> Path:
    """A desk machine whose clocks its hardware chooses, with an ACPI zone that is nobody's CPU."""
    return write_tree(
        root,
        {
            **linux_box("10000000-1111-2222-3333-444455556666"),
            **zone(0, "acpitz", "27800", trips=[("passive", 40000)]),
            **zone(1, "x86_pkg_temp", "61000", trips=[("passive", 0)]),
            "sys/class/thermal/cooling_device0/type": "Processor",
            "sys/class/thermal/cooling_device0/cur_state": "0",
            **policy(0, 400_000, 4_700_000, now=1_200_000, governor="performance", times=[]),
            "sys/devices/system/cpu/cpufreq/policy0/scaling_driver": "intel_pstate",
        },
    )


def nothing(root: Path) -> Path:
    """A container without /sys."""
    return root


def linux_box(boot_id: str) -> dict[str, str]:
    return {BOOT_ID: boot_id, "proc/meminfo": "MemTotal: 4000000 kB\nMemFree: 1 kB\nMemAvailable: 3000000 kB"}


def zone(number: int, kind: str, temperature: str, *, trips: Sequence[tuple[str, int]] = ()) -> dict[str, str]:
    """trips: kind and millidegrees."""
    folder = f"sys/class/thermal/thermal_zone{number}"
    files = {f"{folder}/type": kind, f"{folder}/temp": temperature}
    for index, (trip_kind, millidegrees) in enumerate(trips):
        files[f"{folder}/trip_point_{index}_type"] = trip_kind
        files[f"{folder}/trip_point_{index}_temp"] = str(millidegrees)
    return files


def policy(
    number: int, lowest_khz: int, highest_khz: int, *, now: int, governor: str, times: Sequence[str]
) -> dict[str, str]:
    """now: kHz. times: lines of time_in_state."""
    folder = f"sys/devices/system/cpu/cpufreq/policy{number}"
    values = {
        "cpuinfo_max_freq": str(highest_khz),
        "scaling_min_freq": str(lowest_khz),
        "scaling_max_freq": str(highest_khz),
        "scaling_cur_freq": str(now),
        "scaling_governor": governor,
        "scaling_available_governors": f"conservative ondemand userspace powersave performance {governor}",
        **({"stats/time_in_state": "\n".join(times)} if times else {}),
    }
    return {f"{folder}/{name}": value for name, value in values.items()}


NANO_MODES = """\
# MAXN is the NONE power model to release all constraints
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=5W >
CPU_ONLINE CORE_2 0
< PM_CONFIG DEFAULT=0 >"""

ORIN_NANO_MODES = """\
< POWER_MODEL ID=0 NAME=15W >
GPU MAX_FREQ 612000000
< POWER_MODEL ID=1 NAME=7W >
GPU MAX_FREQ 408000000
< PM_CONFIG DEFAULT=0 >"""
