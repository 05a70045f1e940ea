"""Power monitors that a driver of the kernel reads: INA226, INA228, INA238, INA260 and their like.

Files and units: Documentation/hwmon/sysfs-interface.rst (power1_input uW, energy1_input uJ, in1_input mV,
update_interval ms); chips: Documentation/hwmon/ina2xx.rst and ina238.rst.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.energy_counter import EnergyCounter, EnergyCounters
from edgepareto.agent.power.i2c import is_stub
from edgepareto.agent.power.kernel_file import first_label, read_integer, read_text
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, MeterSetting, PowerSample

__all__ = ["Hwmon", "Monitor", "address_of", "bus_of", "find_monitors", "is_power_monitor"]


@dataclass(frozen=True, slots=True)
class _Chip:
    """interval_s: of one value where the driver does not tell (no update_interval). full_scale_mv: of the shunt."""

    interval_s: float
    full_scale_mv: int | None


# Intervals as the drivers set them up: ina2xx.c (INA219 0x399F; INA226 0x4527, 16 x 2.2 ms), ina238.c (ADC_CONFIG
# 0xFB6A, 16 x 3 x 1.052 ms). Full scales: 320 mV at /8; INA226 81.92 mV; INA238 163.84 mV. An INA260's shunt is inside.
_CHIPS = {
    "ina219": _Chip(1.1e-3, 320),
    "ina220": _Chip(1.1e-3, 320),
    "ina226": _Chip(35.2e-3, 82),
    "ina230": _Chip(35.2e-3, 82),
    "ina231": _Chip(35.2e-3, 82),
    "ina234": _Chip(35.2e-3, 82),
    "ina260": _Chip(35.2e-3, None),
    "ina228": _Chip(50.5e-3, 163),
    "ina237": _Chip(50.5e-3, 163),
    "ina238": _Chip(50.5e-3, 163),
    "ina700": _Chip(50.5e-3, None),
    "ina780": _Chip(50.5e-3, None),
}
_OTHER_CHIP = _Chip(0.1, None)
_SLOWEST_CLOCK = 1.1  # a chip's conversions take up to 10 % longer than its driver says (INA219 to INA238 alike)
_SHORTEST_PERIOD_S = 5e-3  # three files, each a transfer of about half a millisecond
_I2C_DEVICE = re.compile(r"(\d+)-([0-9a-f]{4})")  # the kernel's name of a device on I2C
_SHUNT_TOLERANCE = 0.005  # what rounding to micro-ohm and a calibrated shunt may differ by


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """A hwmon folder with a power in it. device: BUS-ADDRESS of a chip on I2C, else the name of its parent."""

    folder: Path
    chip: str
    label: str | None
    device: str

    @property
    def shunt_ohm(self) -> float | None:
        """What the kernel takes the shunt for; None: the chip has its own, or the driver does not tell."""
        path = self.folder / "shunt_resistor"
        return read_integer(path) / 1e6 if path.is_file() else None

    @property
    def shown(self) -> str:
        return f"{self.chip} {self.device}" + (f" {self.label}" if self.label else "")


def find_monitors(sys_root: Path) -> list[Monitor]:
    """All that tell power or energy, whatever their chip."""
    found = []
    for folder in sorted((sys_root / "sys/class/hwmon").glob("hwmon*")):
        if any((folder / name).is_file() for name in ("power1_input", "energy1_input")) and (folder / "name").is_file():
            device = (folder / "device").resolve().name if (folder / "device").exists() else folder.name
            label = first_label(folder, "power1_label", "in1_label", "label")
            found.append(Monitor(folder=folder, chip=read_text(folder / "name"), label=label, device=device))
    return found


def is_power_monitor(chip: str) -> bool:
    """Of a supply, and not the sensor inside a processor or a graphics card."""
    return chip in _CHIPS


class Hwmon:
    """A PowerMeter on one hwmon folder, which is chosen by its chip's name and its label and never by its number, which
    changes with every boot. Where the driver has an energy counter that is read, since the chip adds up every
    conversion; else one power per update_interval.

    setting.shunt_ohm is compared with the shunt that the kernel calculates with, since its default (10 mohm) is not
    what stands on the usual module. Raises MeterError(ABSENT) where none fits or they differ.
    """

    def __init__(self, sys_root: Path, clock: Clock, setting: MeterSetting) -> None:
        self._clock = clock
        self._monitor = _chosen(find_monitors(sys_root), setting, sys_root)
        _check_shunt(self._monitor, setting.shunt_ohm)
        chip = _CHIPS.get(self._monitor.chip, _OTHER_CHIP)
        self._full_scale_mv = chip.full_scale_mv
        bus = bus_of(self._monitor.device)
        self._is_stub = bus is not None and is_stub(bus, sys_root)
        folder = self._monitor.folder
        interval = folder / "update_interval"
        interval_s = read_integer(interval) / 1e3 if interval.is_file() else chip.interval_s
        self._period_s = max(_SHORTEST_PERIOD_S, interval_s * _SLOWEST_CLOCK)
        self._last_ns: int | None = None
        self._energy: EnergyCounters | None = None
        if (folder / "energy1_input").is_file():
            counter = EnergyCounter(path=folder / "energy1_input", range_uj=None)
            self._energy = EnergyCounters([counter], clock, period_s=self._period_s)
        else:
            read_integer(folder / "power1_input")

    @property
    def description(self) -> MeterDescription:
        return MeterDescription(
            kind="hwmon",
            quality=self._quality,
            address=address_of(self._monitor.device),
            shunt_ohm=self._monitor.shunt_ohm,
            rail=self._monitor.shown,
            averaging_s=2 * self._period_s,  # what is read may be a whole conversion old
        )

    @property
    def _quality(self) -> MeterQuality:
        if self._is_stub:  # the driver cannot tell, and shows what somebody wrote there
            return MeterQuality.SIMULATED
        return MeterQuality.MEASURED if self._energy is None else MeterQuality.COUNTER

    @property
    def longest_gap_s(self) -> float:
        return max(1.0, 2 * self._period_s)

    @property
    def i2c_errors(self) -> int:
        return 0

    def begin_window(self) -> None:
        self._last_ns = self._clock.now_ns()
        if self._energy is not None:
            self._energy.restart()

    def read(self) -> PowerSample:
        """Once per conversion. Raises MeterError(IO) where the chip does not answer, and as an energy counter does."""
        folder = self._monitor.folder
        if self._energy is not None:
            timestamp_ns, power_w = self._energy.read()
        else:
            # A conversion of the slowest chip later: what is read now is not what was read last.
            since_s = self._period_s if self._last_ns is None else (self._clock.now_ns() - self._last_ns) / 1e9
            self._clock.sleep(max(0.0, self._period_s - since_s))
            power_w = read_integer(folder / "power1_input") / 1e6
            timestamp_ns = max(self._clock.now_ns(), 0 if self._last_ns is None else self._last_ns + 1)
            self._last_ns = timestamp_ns
        bus = folder / "in1_input"
        return PowerSample(
            timestamp_ns=timestamp_ns,
            power_w=power_w,
            bus_v=read_integer(bus) / 1e3 if bus.is_file() else None,
            clipped=self._is_clipped(),
        )

    def end_window(self) -> None:
        pass

    def fix_range(self, samples: Sequence[PowerSample]) -> None:
        """The driver has chosen it."""

    def _is_clipped(self) -> bool:
        """in0 is the shunt's voltage in whole mV (ina2xx.c, ina238.c)."""
        shunt = self._monitor.folder / "in0_input"
        return self._full_scale_mv is not None and shunt.is_file() and abs(read_integer(shunt)) >= self._full_scale_mv


def _chosen(monitors: Sequence[Monitor], setting: MeterSetting, sys_root: Path) -> Monitor:
    fitting = [
        monitor
        for monitor in monitors
        if (is_power_monitor(monitor.chip) if setting.chip is None else monitor.chip == setting.chip)
        and (setting.rail is None or monitor.label == setting.rail)
    ]
    if len(fitting) > 1:  # two alike: the address tells them apart
        fitting = [m for m in fitting if m.device == f"{setting.bus}-{setting.address:04x}"] or fitting
    if len(fitting) == 1:
        return fitting[0]
    asked = f"chip = {setting.chip!r}" if setting.chip else "a chip known to measure supplies"
    asked += f" with rail = {setting.rail!r}" if setting.rail else ""
    if not fitting:
        there = ", ".join(monitor.shown for monitor in monitors) or "none at all"
        raise MeterError(
            MeterStatus.ABSENT,
            f"{sys_root / 'sys/class/hwmon'} has no power monitor with {asked}; there is {there}: correct "
            f"[meter], or load the chip's driver, for example echo ina226 0x40 | sudo tee "
            f"/sys/bus/i2c/devices/i2c-1/new_device",
        )
    raise MeterError(
        MeterStatus.ABSENT,
        f"{len(fitting)} power monitors have {asked} ({', '.join(monitor.shown for monitor in fitting)}): "
        f"name one by chip, rail, or bus and address in [meter]",
    )


def _check_shunt(monitor: Monitor, shunt_ohm: float) -> None:
    kernel_ohm = monitor.shunt_ohm
    if kernel_ohm is None or abs(kernel_ohm / shunt_ohm - 1) <= _SHUNT_TOLERANCE:
        return
    # From inside the namespace of the board, whatever root this one was found under.
    path = "/sys" + str(monitor.folder / "shunt_resistor").rpartition("/sys")[2]
    raise MeterError(
        MeterStatus.ABSENT,
        f"{monitor.shown}: the kernel calculates with a shunt of {kernel_ohm:g} ohm, shunt_ohm in agent.toml is "
        f"{shunt_ohm:g} (0.1 where it is not set): echo {round(shunt_ohm * 1e6)} | sudo tee {path}, or correct "
        f"shunt_ohm to what is printed on the shunt",
    )


def bus_of(device: str) -> int | None:
    """1-0040 -> 1."""
    place = _I2C_DEVICE.fullmatch(device)
    return int(place[1]) if place else None


def address_of(device: str) -> int | None:
    """1-0040 -> 0x40."""
    place = _I2C_DEVICE.fullmatch(device)
    return int(place[2], 16) if place else None
