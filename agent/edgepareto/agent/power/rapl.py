"""Intel's and AMD's energy counters through the kernel's powercap files (Documentation/power/powercap/powercap.rst)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.energy_counter import EnergyCounter, EnergyCounters
from edgepareto.agent.power.kernel_file import read_integer, read_text
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, PowerSample

__all__ = ["Rapl"]

_PERIOD_S = 0.02  # the counter moves once a millisecond: at 20 ms that is at most 5 % of one sample, and no sum
_IF_DENIED = "run the agent as root, or let its user read energy_uj (root only since CVE-2020-8694)"


class Rapl:
    """A PowerMeter: the mean power of all processor packages since the last read. The rest of the machine is not in it.

    sys_root: above `sys/class/powercap`. Raises MeterError(ABSENT) where there is no counter or it may not be read.
    """

    def __init__(self, sys_root: Path, clock: Clock) -> None:
        powercap = sys_root / "sys/class/powercap"
        # intel-rapl:0 is a package, intel-rapl:0:0 a part of it; a zone "psys" holds the packages and more.
        folders = [folder for folder in sorted(powercap.glob("intel-rapl:*")) if folder.name.count(":") == 1]
        named = [(read_text(folder / "name"), folder) for folder in folders]
        packages = [(name, folder) for name, folder in named if name != "psys"]
        if not packages:
            raise MeterError(MeterStatus.ABSENT, f"{powercap} has no intel-rapl:N: this machine has no energy counter")
        self._rail = " + ".join(name for name, _ in packages)
        counters = [
            EnergyCounter(
                path=folder / "energy_uj",
                range_uj=read_integer(folder / "max_energy_range_uj"),
                if_denied=_IF_DENIED,
            )
            for _, folder in packages
        ]
        self._counters = EnergyCounters(counters, clock, period_s=_PERIOD_S)

    @property
    def description(self) -> MeterDescription:
        return MeterDescription(kind="rapl", quality=MeterQuality.COUNTER, rail=self._rail)

    @property
    def longest_gap_s(self) -> float:
        return 1.0

    @property
    def i2c_errors(self) -> int:
        return 0

    def begin_window(self) -> None:
        self._counters.restart()

    def read(self) -> PowerSample:
        """At least 20 ms after the last one. Raises MeterError(STUCK) where no counter moves for 0.9 s."""
        timestamp_ns, power_w = self._counters.read()
        return PowerSample(timestamp_ns=timestamp_ns, power_w=power_w, bus_v=None)

    def end_window(self) -> None:
        pass

    def fix_range(self, samples: Sequence[PowerSample]) -> None:
        """It has one."""
