"""What a simulated board can be told to do wrong, each in a seam and by name in board.toml.

i2c_error=K         K transactions in a row (default 1) are not acknowledged (errno 121), every 50 ms
bus_stalls          every half second the bus stands still for 50 ms
meter_stuck         the chip never says that a conversion is ready
meter_reset         the chip falls back to its power-on settings every second
meter_clipped       4 A more than the board draws flow through the shunt
no_meter            the board has none
wrong_provider      the runtime really uses another provider than asked for
dies_after=N        the agent's process is killed when batch N + 1 begins
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepareto.agent.errors import ConfigError

__all__ = ["FAULT_NAMES", "Faults", "parse_faults"]

FAULT_NAMES = (
    "i2c_error",
    "bus_stalls",
    "meter_stuck",
    "meter_reset",
    "meter_clipped",
    "no_meter",
    "wrong_provider",
    "dies_after",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    i2c_error: int = 0
    bus_stalls: bool = False
    meter_stuck: bool = False
    meter_reset: bool = False
    meter_clipped: bool = False
    no_meter: bool = False
    wrong_provider: bool = False
    dies_after: int | None = None


def parse_faults(texts: Sequence[str]) -> Faults:
    """Raises ConfigError for an unknown name or a count that is missing, not wanted or not a whole number."""
    counts: dict[str, str] = {}
    for text in texts:
        name, _, count = text.partition("=")
        if name not in FAULT_NAMES:
            raise ConfigError(f"no fault of a simulated board is called {name!r}: known are {', '.join(FAULT_NAMES)}")
        if count and name not in ("i2c_error", "dies_after"):
            raise ConfigError(f"fault {text!r}: {name} takes no count, write just {name}")
        counts[name] = count
    return Faults(
        i2c_error=_count("i2c_error", counts["i2c_error"] or "1") if "i2c_error" in counts else 0,
        bus_stalls="bus_stalls" in counts,
        meter_stuck="meter_stuck" in counts,
        meter_reset="meter_reset" in counts,
        meter_clipped="meter_clipped" in counts,
        no_meter="no_meter" in counts,
        wrong_provider="wrong_provider" in counts,
        dies_after=_count("dies_after", counts["dies_after"]) if "dies_after" in counts else None,
    )


def _count(name: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"fault {name}: the count is {text!r}, it must be a whole number, as in {name}=2")
    return int(text)
