"""The Raspberry Pi 5's power management chip (DA9091), asked through `vcgencmd pmic_read_adc`.

An estimate: it reads the outputs of the regulators, each at another instant, a few times a second. What the regulators
lose and what USB and HATs draw is not in it (some 1.8 W below the wall with all cores busy).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import MeterError, MeterStatus
from edgepareto.agent.power.power_meter import MeterDescription, MeterQuality, PowerSample

__all__ = ["Pi5Pmic"]

# One process per look takes some milliseconds of CPU; more often, and the meter would be a load of its own.
_PERIOD_S = 0.1
_TIMEOUT_S = 2.0
# "   VDD_CORE_A current(7)=0.81262990A" and "   VDD_CORE_V volt(15)=0.88187950V"
_LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]\s*$", re.MULTILINE)
_INPUT = "EXT5V"  # the supply's voltage; its current is not measured


class Pi5Pmic:
    """A PowerMeter: the sum of volts x amperes over all rails that tell both. bus_v is the supply's voltage.

    sys_root: `usr/bin/vcgencmd` is looked for below it. Raises MeterError(ABSENT) where there is none, it may not open
    /dev/vcio, or the board is not a Pi 5.
    """

    def __init__(self, sys_root: Path, clock: Clock) -> None:
        self._clock = clock
        self._command = _vcgencmd(sys_root)
        self._last_ns = clock.now_ns()
        self._look()

    @property
    def description(self) -> MeterDescription:
        return MeterDescription(kind="pi5_pmic", quality=MeterQuality.ESTIMATE, rail="sum of the PMIC's outputs")

    @property
    def longest_gap_s(self) -> float:
        return _TIMEOUT_S

    @property
    def i2c_errors(self) -> int:
        return 0

    def begin_window(self) -> None:
        self._last_ns = self._clock.now_ns()

    def read(self) -> PowerSample:
        since_s = (self._clock.now_ns() - self._last_ns) / 1e9
        self._clock.sleep(max(0.0, _PERIOD_S - since_s))
        power_w, bus_v = self._look()
        self._last_ns = max(self._clock.now_ns(), self._last_ns + 1)
        return PowerSample(timestamp_ns=self._last_ns, power_w=power_w, bus_v=bus_v)

    def end_window(self) -> None:
        pass

    def fix_range(self, samples: Sequence[PowerSample]) -> None:
        """It has one."""

    def _look(self) -> tuple[float, float | None]:
        values = {(name, unit): float(number) for name, unit, number in _LINE.findall(self._ask())}
        powers_w = [
            amperes * values[name, "V"]
            for (name, unit), amperes in values.items()
            if unit == "A" and (name, "V") in values
        ]
        if not powers_w:
            raise MeterError(
                MeterStatus.ABSENT,
                f"{self._command} pmic_read_adc tells no currents: only a Raspberry Pi 5 has this meter",
            )
        return sum(powers_w), values.get((_INPUT, "V"))

    def _ask(self) -> str:
        try:
            done = subprocess.run(
                [self._command, "pmic_read_adc"],
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MeterError(MeterStatus.IO, f"{self._command} pmic_read_adc: {error}") from error
        said = " ".join((done.stdout + " " + done.stderr).split())
        if "vcio" in said:
            raise MeterError(
                MeterStatus.ABSENT,
                f"vcgencmd may not open /dev/vcio: add the agent's user to group video (sudo usermod -aG video USER, "
                f"then log in again); it said: {said[:120]}",
            )
        if done.returncode or "error=" in said:
            raise MeterError(
                MeterStatus.ABSENT,
                f"{self._command} pmic_read_adc failed, only a Raspberry Pi 5 has this meter; it said: {said[:120]}",
            )
        return done.stdout


def _vcgencmd(sys_root: Path) -> Path:
    below = sys_root / "usr/bin/vcgencmd"
    found = below if below.is_file() else None
    if found is None and sys_root == Path("/") and (elsewhere := shutil.which("vcgencmd")):
        found = Path(elsewhere)
    if found is None:
        raise MeterError(
            MeterStatus.ABSENT, f"{below} does not exist: this is no Raspberry Pi 5, or sudo apt install raspi-utils"
        )
    return found
