"""What a simulated board can be told to do wrong, each in a seam and by name in board.toml.

The board, in every batch anew:
noise=X             runs scatter X times as much
drift=X             everything gets slower by X percent per minute of measurement time
hot                 the air is so warm that one core kept busy settles above the throttle limit; one that rests in
                    between may stay just below it
undervoltage        the supply sags while a model runs: bit 0, and bit 16 from then on
throttle_mid_block=S  at second S (default 3) the clock falls for 0.7 s, longer than a warm-up: bit 2, then bit 18
contention=P        other programs use P percent of every core: /proc/stat shows it, and runs take that much longer
low_memory=MB       so much is available in /proc/meminfo
dies_after=N        the agent's process is killed when batch N + 1 begins
reboot_after=N      the same once, and the board comes back with another boot id

The model's process, really; C: last characters of the candidate ids that it strikes, 0-9 and a-f, default all:
crash=C             it aborts
hang=C              it loops for ever
oom=C               it allocates until it may have no more
wrong_output=C      its outputs are not those of the model
wrong_provider      the runtime uses another provider than asked for

The meter:
i2c_error=K         K transactions in a row (default 1) are not acknowledged (errno 121), every 50 ms
bus_stalls          every half second the bus stands still for 50 ms
meter_stuck         the chip never says that a conversion is ready
meter_reset         the chip falls back to its power-on settings every second
meter_clipped       4 A more than the board draws flow through the shunt
no_meter            the board has none
chip_clock=X        how fast the chip's oscillator runs (0.9 to 1.1), instead of as the board's seed says
meter_offset_uv=X   what the chip adds to the shunt's voltage
meter_gain=X        what the chip multiplies it by
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
    "chip_clock",
    "meter_offset_uv",
    "meter_gain",
    "noise",
    "drift",
    "hot",
    "undervoltage",
    "throttle_mid_block",
    "contention",
    "low_memory",
    "dies_after",
    "reboot_after",
    "crash",
    "hang",
    "oom",
    "wrong_output",
    "wrong_provider",
)
_ID_CHARACTERS = "0123456789abcdef"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """contention: 0..1. drift_per_s: relative. crash, hang, oom, wrong_output: last characters of candidate ids."""

    i2c_error: int = 0
    bus_stalls: bool = False
    meter_stuck: bool = False
    meter_reset: bool = False
    meter_clipped: bool = False
    no_meter: bool = False
    chip_clock: float | None = None
    meter_offset_v: float = 0.0
    meter_gain: float = 1.0
    noise: float = 1.0
    drift_per_s: float = 0.0
    hot: bool = False
    undervoltage: bool = False
    throttled_at_s: float | None = None
    contention: float = 0.0
    available_bytes: int | None = None
    dies_after: int | None = None
    reboot_after: int | None = None
    crash: str | None = None
    hang: str | None = None
    oom: str | None = None
    wrong_output: str | None = None
    wrong_provider: bool = False


def parse_faults(texts: Sequence[str]) -> Faults:
    """Raises ConfigError for an unknown name, or a value that is missing, not wanted or not allowed."""
    told = _Told(texts)
    throttles = told.has("throttle_mid_block")
    memory_mb = told.whole("low_memory")
    return Faults(
        i2c_error=(told.whole("i2c_error", 1) or 0),
        bus_stalls=told.flag("bus_stalls"),
        meter_stuck=told.flag("meter_stuck"),
        meter_reset=told.flag("meter_reset"),
        meter_clipped=told.flag("meter_clipped"),
        no_meter=told.flag("no_meter"),
        chip_clock=told.number("chip_clock", 0.9, 1.1) if told.has("chip_clock") else None,
        meter_offset_v=told.number("meter_offset_uv", -1000, 1000) * 1e-6,
        meter_gain=told.number("meter_gain", 0.5, 1.5, absent=1.0),
        noise=told.number("noise", 0, 100, absent=1.0),
        drift_per_s=told.number("drift", 0, 1000) / 100 / 60,
        hot=told.flag("hot"),
        undervoltage=told.flag("undervoltage"),
        throttled_at_s=told.number("throttle_mid_block", 0, 1e6, default="3") if throttles else None,
        contention=told.number("contention", 0, 99) / 100,
        available_bytes=None if memory_mb is None else memory_mb << 20,
        dies_after=told.whole("dies_after"),
        reboot_after=told.whole("reboot_after"),
        crash=told.id_characters("crash"),
        hang=told.id_characters("hang"),
        oom=told.id_characters("oom"),
        wrong_output=told.id_characters("wrong_output"),
        wrong_provider=told.flag("wrong_provider"),
    )


class _Told:
    """The texts by name, each read in the way its fault wants it."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._values: dict[str, str] = {}
        for text in texts:
            name, _, value = text.partition("=")
            if name not in FAULT_NAMES:
                known = ", ".join(FAULT_NAMES)
                raise ConfigError(f"no fault of a simulated board is called {name!r}: known are {known}")
            self._values[name] = value

    def has(self, name: str) -> bool:
        return name in self._values

    def flag(self, name: str) -> bool:
        if self._values.get(name):
            raise ConfigError(f"fault '{name}={self._values[name]}': {name} takes no count, write just {name}")
        return name in self._values

    def whole(self, name: str, default: int | None = None) -> int | None:
        """None: not told. default: for the name alone."""
        if name not in self._values:
            return None
        text = self._values[name] or ("" if default is None else str(default))
        if not text.isdecimal():
            raise ConfigError(f"fault {name}: the count is {text!r}, it must be a whole number, 0 or more: {name}=2")
        return int(text)

    def number(self, name: str, low: float, high: float, *, absent: float = 0.0, default: str = "") -> float:
        if name not in self._values:
            return absent
        text = self._values[name] or default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ConfigError(f"fault {name}: the value is {text!r}, it must be a number from {low:g} to {high:g}")
        return value

    def id_characters(self, name: str) -> str | None:
        """None: not told."""
        if name not in self._values:
            return None
        text = self._values[name] or _ID_CHARACTERS
        if not set(text) <= set(_ID_CHARACTERS):
            raise ConfigError(
                f"fault {name}: candidates ending in {text!r}, allowed are characters 0-9 and a-f, as in {name}=07"
            )
        return text
