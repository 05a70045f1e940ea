"""Fake /sys trees with power in them, and a clock whose passing moves their counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# One INA3221: what the driver's folder is called, then (label, mV, mA) of its three channels; "" is not connected.
Channels = Sequence[tuple[str, int, int]]


class TreeClock:
    def __init__(self, on_time: Callable[[int], object] = lambda now_ns: None) -> None:
        self._on_time = on_time
        self._now_ns = 0
        on_time(0)

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)
        self._on_time(self._now_ns)

    def start_batch(self) -> None:
        pass


def write(folder: Path, files: Mapping[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")
    return folder


def hwmon(root: Path, number: int, chip: str, files: Mapping[str, object], *, device: str | None = None) -> Path:
    """device: "1-0040", which the folder then belongs to."""
    folder = write(root / f"sys/class/hwmon/hwmon{number}", {"name": chip, **files})
    if device is not None:
        owner = root / f"sys/bus/i2c/devices/{device}"
        owner.mkdir(parents=True, exist_ok=True)
        (folder / "device").symlink_to(owner)
    return folder


def ina3221_hwmon(root: Path, number: int, channels: Channels, *, interval_ms: int | None = None) -> Path:
    """JetPack 5 and later."""
    files: dict[str, object] = {} if interval_ms is None else {"update_interval": interval_ms}
    for channel, (label, millivolts, milliamperes) in enumerate(channels, 1):
        if label:
            files |= {f"in{channel}_label": label, f"in{channel}_input": millivolts}
            files |= {f"curr{channel}_input": milliamperes}
    files |= {"in7_label": "sum of shunt voltages", "in7_input": 12}
    return hwmon(root, number, "ina3221", files)


def ina3221_iio(root: Path, device: str, channels: Channels, *, folder: str = "iio:device0") -> Path:
    """JetPack 4 and before: mW, and channels from 0."""
    files: dict[str, object] = {}
    for channel, (label, millivolts, milliamperes) in enumerate(channels):
        files |= {f"rail_name_{channel}": label or "NC", f"in_voltage{channel}_input": millivolts}
        files |= {f"in_current{channel}_input": milliamperes}
        files |= {f"in_power{channel}_input": millivolts * milliamperes // 1000}
    return write(root / "sys/bus/i2c/drivers/ina3221x" / device / folder, files)


def rapl(root: Path, package: int, *, counter_uj: int = 0, name: str | None = None) -> Path:
    folder = root / f"sys/class/powercap/intel-rapl:{package}"
    label = name or f"package-{package}"
    return write(folder, {"name": label, "max_energy_range_uj": 262_143_328_850, "energy_uj": counter_uj})


def vcgencmd(root: Path, output: str, *, code: int = 0) -> Path:
    """A script that says this whatever it is asked."""
    script = root / "usr/bin/vcgencmd"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\ncat <<'SAID'\n{output}\nSAID\nexit {code}\n")
    script.chmod(0o755)
    return script
