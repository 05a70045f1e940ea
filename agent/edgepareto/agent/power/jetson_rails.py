"""The INA3221 of NVIDIA's Jetson modules, and the INA238 of Thor's carrier: rails chosen by label.

Labels and paths: Jetson Linux Developer Guide, "Power and Performance", Software-Based Power Consumption Modeling, of
releases 32 (JetPack 4: L4T's driver ina3221x, iio) to 38 (JetPack 7: the kernel's ina3221, hwmon).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.kernel_file import first_label, read_integer, read_text
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, PowerSample

__all__ = ["JetsonRails", "find_rails"]

# The rails that are the whole input, by board; the first entry that is there completely. Where one rail feeds the
# module it is that one. The AGX modules have two inputs and no rail for both: on AGX Xavier the six rails do not
# overlap; on AGX Orin VDDQ_VDD2_1V8AO is behind VIN_SYS_5V0, so it is not added. TX1 and TX2 have VDD_MUX beside
# VDD_IN: the carrier.
_TOTALS = (
    ("VIN",),  # AGX Thor: the whole developer kit
    ("VDD_IN",),  # TX1, TX2, TX2 NX, Xavier NX, Orin Nano, Orin NX
    ("POM_5V_IN",),  # Nano
    ("5V_IN",),  # Xavier NX by the guide's table
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)
_THOR_RAIL = "VDD_CPU_SOC_MSS"
_CHANNELS = (1, 2, 3)  # in4 to in6 are shunt voltages, in7 their sum (Documentation/hwmon/ina3221.rst)
# L4T's driver of JetPack 4 averages 512 times over three channels (continuous-config 0x7c07: 512 x 3 x 2 x 140 us). A
# reading that differs is a new one; the same reading counts again only after this long.
_LONGEST_CONVERSION_S = 0.45
_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """power: mW, or None and power is voltage (mV) x current (mA). scale_w: watts of one unit of `power`."""

    label: str
    power: Path | None = None
    scale_w: float = 1e-3
    voltage: Path | None = None
    current: Path | None = None
    interval: Path | None = None

    def read(self) -> tuple[float, float | None]:
        """(watts, volts or None). Raises MeterError."""
        volts = None if self.voltage is None else read_integer(self.voltage) * 1e-3
        if self.power is not None:
            return read_integer(self.power) * self.scale_w, volts
        assert volts is not None, "a rail has a power or both"
        assert self.current is not None, "a rail has a power or both"
        return volts * read_integer(self.current) * 1e-3, volts


def find_rails(sys_root: Path) -> dict[str, Rail]:
    """By label. Channels that are not connected (NC) or disabled are left out."""
    rails = {rail.label: rail for rail in [*_iio_rails(sys_root), *_hwmon_rails(sys_root)]}
    if "VIN" not in rails and _THOR_RAIL in rails:
        for folder in _hwmon_folders(sys_root, "ina238", "ina237"):
            rails["VIN"] = _ina238_rail("VIN", folder)
    return rails


class JetsonRails:
    """A PowerMeter: the sum of the rails that are the board's whole input, or of those in `rail` ("A" or "A + B").

    The chip averages over many conversions, so edges are smeared and the windows' guards are needed. Raises
    MeterError(ABSENT) where a rail is not there.
    """

    def __init__(self, sys_root: Path, clock: Clock, *, rail: str | None = None) -> None:
        self._clock = clock
        self._rails = _chosen(find_rails(sys_root), rail, sys_root)
        intervals_s = [read_integer(one.interval) / 1e3 for one in self._rails if one.interval is not None]
        # A driver that tells how often it has a new value is asked then; another is watched for a change.
        self._told = len(intervals_s) == len(self._rails)
        self._longest_s = max([_POLL_S, *intervals_s]) if self._told else _LONGEST_CONVERSION_S
        self._last: tuple[float, ...] | None = None
        self._last_ns = clock.now_ns()
        self._look()

    @property
    def description(self) -> MeterDescription:
        return MeterDescription(
            kind="jetson",
            quality=MeterQuality.MEASURED,
            rail=" + ".join(rail.label for rail in self._rails),
            # Read by the clock, it may be a whole conversion old; one that is watched for a change is not.
            averaging_s=2 * self._longest_s if self._told else self._longest_s,
        )

    @property
    def longest_gap_s(self) -> float:
        return max(1.0, 2 * self._longest_s)

    @property
    def i2c_errors(self) -> int:
        return 0

    def begin_window(self) -> None:
        """What the chip holds now was averaged before."""
        self._last, _ = self._look()
        self._last_ns = self._clock.now_ns()

    def read(self) -> PowerSample:
        while True:
            waited_s = (self._clock.now_ns() - self._last_ns) / 1e9
            left_s = self._longest_s - waited_s
            self._clock.sleep(max(0.0, left_s) if self._told else max(0.0, min(_POLL_S, left_s)))
            watts, bus_v = self._look()
            now_ns = self._clock.now_ns()
            old = not self._told and watts == self._last and (now_ns - self._last_ns) / 1e9 < self._longest_s
            if not old:
                self._last, self._last_ns = watts, max(now_ns, self._last_ns + 1)
                return PowerSample(timestamp_ns=self._last_ns, power_w=sum(watts), bus_v=bus_v)

    def end_window(self) -> None:
        pass

    def fix_range(self, samples: Sequence[PowerSample]) -> None:
        """It has one."""

    def _look(self) -> tuple[tuple[float, ...], float | None]:
        """(watts by rail, the volts of a single rail)."""
        seen = [rail.read() for rail in self._rails]
        return tuple(watts for watts, _ in seen), seen[0][1] if len(seen) == 1 else None


def _chosen(rails: dict[str, Rail], rail: str | None, sys_root: Path) -> list[Rail]:
    there = ", ".join(rails) or "none"
    if rail is not None:
        wanted = [label.strip() for label in rail.split("+")]
        missing = [label for label in wanted if label not in rails]
        if missing:
            raise MeterError(
                MeterStatus.ABSENT,
                f"no rail is labelled {missing[0]!r} under {sys_root / 'sys'}: there are {there}; correct rail in "
                f"[meter]",
            )
        return [rails[label] for label in wanted]
    for labels in _TOTALS:
        if all(label in rails for label in labels):
            return [rails[label] for label in labels]
    raise MeterError(
        MeterStatus.ABSENT,
        f"no rail of the whole board under {sys_root / 'sys'}: labels are {there}"
        + (
            '; name those to add up in [meter], as in rail = "VDD_A + VDD_B"'
            if rails
            else "; this is no Jetson with an INA3221 (the Nano 2GB has none), or its driver is not loaded"
        ),
    )


def _iio_rails(sys_root: Path) -> list[Rail]:
    """JetPack 4 and before: rail_name_N, in_powerN_input in mW. The folder is iio:deviceN, in release 28 iio_device."""
    rails = []
    for name in sorted((sys_root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio*device*/rail_name_*")):
        label, channel = read_text(name), name.name.removeprefix("rail_name_")
        if _is_connected(label):
            folder = name.parent
            voltage = folder / f"in_voltage{channel}_input"
            rails.append(
                Rail(
                    label=label,
                    power=folder / f"in_power{channel}_input",
                    voltage=voltage if voltage.is_file() else None,
                )
            )
    return rails


def _hwmon_rails(sys_root: Path) -> list[Rail]:
    """JetPack 5 and later: inN_label, inN_input in mV, currN_input in mA."""
    rails = []
    for folder in _hwmon_folders(sys_root, "ina3221"):
        interval = folder / "update_interval"
        for channel in _CHANNELS:
            label = first_label(folder, f"in{channel}_label")
            enable = folder / f"in{channel}_enable"
            disabled = enable.is_file() and read_text(enable) == "0"
            if label is not None and _is_connected(label) and not disabled:
                rails.append(
                    Rail(
                        label=label,
                        voltage=folder / f"in{channel}_input",
                        current=folder / f"curr{channel}_input",
                        interval=interval if interval.is_file() else None,
                    )
                )
    for folder in _hwmon_folders(sys_root, "ina238", "ina237"):
        label = first_label(folder, "power1_label", "in1_label", "label")
        if label is not None:
            rails.append(_ina238_rail(label, folder))
    return rails


def _ina238_rail(label: str, folder: Path) -> Rail:
    interval = folder / "update_interval"
    return Rail(
        label=label,
        power=folder / "power1_input",
        scale_w=1e-6,
        voltage=folder / "in1_input",
        interval=interval if interval.is_file() else None,
    )


def _hwmon_folders(sys_root: Path, *chips: str) -> list[Path]:
    folders = sorted((sys_root / "sys/class/hwmon").glob("hwmon*"))
    return [folder for folder in folders if (folder / "name").is_file() and read_text(folder / "name") in chips]


def _is_connected(label: str) -> bool:
    return label not in ("", "NC") and not label.startswith("sum of shunt")
