"""How far a meter as a whole may be off, by its datasheet: the same error in every job of a board, stated with k = 2.

A datasheet's limit +-a is taken as equally likely everywhere within (GUM, JCGM 100:2008, 4.3.7): standard uncertainty
a / sqrt(3), and k = 2 of independent parts is 2 sqrt(sum a^2 / 3). No repeat makes it smaller, and between candidates
of one board it cancels, so it stands in the interval that is shown and never in a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgepareto.host.domain.device import Meter, MeterQuality

__all__ = ["MeterError", "meter_error"]

COVERAGE = 2.0
SHUNT = 0.01  # the resistor of the usual modules; their datasheet says 1 %
# A Pi 5's PMIC tells its own rails only. Against a wall meter people find 1.15 x its sum + 0.59 W: a third at 3 W.
ESTIMATE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterError:
    """k = 2 half widths. gain: a share of what is read. offset_a: a current that is always added, None: not published
    for a shunt that nobody named."""

    gain: float
    offset_a: float | None

    def of_power(self, power_w: float, bus_v: float | None) -> float:
        """Of a mean power, in watts."""
        offset_w = (self.offset_a or 0.0) * (bus_v or 0.0)
        return math.hypot(self.gain * power_w, offset_w)

    def of_difference(self, power_w: float) -> float:
        """Of the difference of two powers read by the same meter at the same range: its offset cancels."""
        return self.gain * abs(power_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Datasheet:
    """Limits of a current-shunt monitor. offset_v: shunt offset, by the two PGA bits where the chip has a PGA."""

    current: float
    bus: float
    offset_v: tuple[float, ...]


# INA219: SBOS448G, 7.5, limits of grade A: shunt offset at PGA /1 /2 /4 /8; current and bus +-0.5 % at 25 C. Grade A's
# 1 % over -25 to 85 C would hold for boards in the cold.
# INA226: SBOS547B, 6.5, gain 0.1 %, offset 10 uV; bus 0.1 % and 7.5 mV of 5 V.
# INA228: SLYS021A, INA238: SLYS025A, 6.5: gain 0.05 and 0.1 %, offset 1 and 5 uV; bus the same and 1 and 5 mV of 5 V.
DATASHEETS: Mapping[str, _Datasheet] = {
    "ina219": _Datasheet(current=0.005, bus=0.005, offset_v=(100e-6, 125e-6, 150e-6, 200e-6)),
    "ina226": _Datasheet(current=0.001, bus=0.0025, offset_v=(10e-6,)),
    "ina228": _Datasheet(current=0.0005, bus=0.0007, offset_v=(1e-6,)),
    "ina238": _Datasheet(current=0.001, bus=0.002, offset_v=(5e-6,)),
}


def meter_error(meter: Meter) -> MeterError | None:
    """None for a meter that publishes no figure, such as RAPL or a Jetson's rails: its interval holds repeats only."""
    if meter.quality is MeterQuality.ESTIMATE:
        return MeterError(gain=ESTIMATE, offset_a=0.0)
    sheet = DATASHEETS.get(_chip(meter))
    if sheet is None:
        return None
    gain = math.sqrt(SHUNT**2 + sheet.current**2 + sheet.bus**2)
    pga = 0 if meter.config is None or len(sheet.offset_v) == 1 else meter.config >> 11 & 0b11
    # Without its configuration the widest range is assumed.
    offset_v = sheet.offset_v[-1] if meter.config is None else sheet.offset_v[pga]
    scale = COVERAGE / math.sqrt(3)
    return MeterError(gain=scale * gain, offset_a=None if not meter.shunt_ohm else scale * offset_v / meter.shunt_ohm)


def _chip(meter: Meter) -> str:
    """The kernel's driver serves several chips; its agent writes which one it is where the rail stands."""
    return next((chip for chip in DATASHEETS if meter.kind == "hwmon" and chip in (meter.rail or "")), meter.kind)
