"""Intel's and AMD's energy counters through the kernel's powercap files (Documentation/power/powercap/powercap.rst)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, PowerSample

__all__ = ["Rapl"]

_PERIOD_S = 0.02  # the counter moves once a millisecond: at 20 ms that is at most 5 % of one sample, and no sum
_STUCK_S = 0.9


@dataclass(frozen=True, slots=True)
class _Zone:
    """One processor package. range_uj: where its counter starts again from 0."""

    name: str
    counter: Path
    range_uj: int


class Rapl:
    """A PowerMeter: the mean power of all processor packages since the last read. The rest of the machine is not in it.

    sys_root: above `sys/class/powercap`. Raises MeterError(ABSENT) where there is no counter or it may not be read
    (the kernel lets only root, since CVE-2020-8694).
    """

    def __init__(self, sys_root: Path, clock: Clock) -> None:
        self._clock = clock
        powercap = sys_root / "sys/class/powercap"
        # intel-rapl:0 is a package, intel-rapl:0:0 a part of it.
        folders = [folder for folder in sorted(powercap.glob("intel-rapl:*")) if folder.name.count(":") == 1]
        if not folders:
            raise MeterError(MeterStatus.ABSENT, f"{powercap} has no intel-rapl:N: this machine has no energy counter")
        self._zones = [
            _Zone(_text(folder / "name"), folder / "energy_uj", int(_text(folder / "max_energy_range_uj")))
            for folder in folders
        ]
        self._last_ns, self._last_uj = self._counters()

    @property
    def description(self) -> MeterDescription:
        return MeterDescription(
            kind="rapl", quality=MeterQuality.COUNTER, rail=" + ".join(zone.name for zone in self._zones)
        )

    @property
    def longest_gap_s(self) -> float:
        return 1.0

    @property
    def i2c_errors(self) -> int:
        return 0

    def begin_window(self) -> None:
        self._last_ns, self._last_uj = self._counters()

    def read(self) -> PowerSample:
        """At least 20 ms after the last one. Raises MeterError(STUCK) where no counter moves for 0.9 s."""
        started_ns = self._clock.now_ns()
        self._clock.sleep(max(0.0, _PERIOD_S - (started_ns - self._last_ns) / 1e9))
        now_ns, counters = self._counters()
        while now_ns == self._last_ns or counters == self._last_uj:
            if now_ns - started_ns > _STUCK_S * 1e9:
                raise MeterError(MeterStatus.STUCK, f"{self._zones[0].counter} stands at {counters[0]} uJ for 0.9 s")
            self._clock.sleep(_PERIOD_S)
            now_ns, counters = self._counters()
        # Modulo the range: a counter that wrapped once since the last read. One range is minutes at full load.
        used_uj = sum(
            (now - last) % (zone.range_uj + 1)
            for zone, now, last in zip(self._zones, counters, self._last_uj, strict=True)
        )
        power_w = used_uj * 1e3 / (now_ns - self._last_ns)
        self._last_ns, self._last_uj = now_ns, counters
        return PowerSample(timestamp_ns=now_ns, power_w=power_w, bus_v=None)

    def end_window(self) -> None:
        pass

    def _counters(self) -> tuple[int, list[int]]:
        counters = [int(_text(zone.counter)) for zone in self._zones]
        return self._clock.now_ns(), counters


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise MeterError(
            MeterStatus.ABSENT,
            f"{path}: {error.strerror} (errno {error.errno}): run the agent as root, or let its user read energy_uj",
        ) from error
