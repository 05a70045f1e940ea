"""The shipped profiles of boards: every constant with the source it came from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from math import sqrt

from edgepareto.agent.errors import ConfigError
from edgepareto.agent.runtime.runtime import RuntimeOptions
from edgepareto.agent.simulation.cost_model import CostTable
from edgepareto.agent.simulation.runtime_costs import RuntimeCosts, find_costs, parse_costs
from edgepareto.agent.simulation.sourced import Table, constant, constants, pairs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "BOARD_NAMES",
    "BoardProfile",
    "ClockProfile",
    "PowerMode",
    "PowerProfile",
    "Supply",
    "ThermalProfile",
    "load_profile",
]

BOARD_NAMES = ("raspberry-pi-zero-2w", "raspberry-pi-4b", "raspberry-pi-5", "jetson-nano", "jetson-orin-nano")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """A voltage source with a resistance, then the meter's shunt, then the board, which draws constant power."""

    open_circuit_v: float
    source_ohm: float
    shunt_ohm: float

    @property
    def resistance_ohm(self) -> float:
        return self.source_ohm + self.shunt_ohm

    def current_a(self, power_w: float) -> float:
        """The smaller root of power = voltage x current; at more than the source can give, its limit."""
        square = self.open_circuit_v**2 - 4 * power_w * self.resistance_ohm
        if square < 0:
            return self.open_circuit_v / (2 * self.resistance_ohm)
        # Not (voltage - root) / (2 x resistance), which loses every digit as the resistance goes to 0.
        return 2 * power_w / (self.open_circuit_v + sqrt(square))

    def bus_v(self, current_a: float) -> float:
        """Behind the shunt, where an INA219 measures. Linear, so means may be put in."""
        return self.open_circuit_v - current_a * self.resistance_ohm


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerProfile:
    idle_w: float
    first_core_w: float
    further_core_w: float
    supply: Supply

    def busy_w(self, threads: int) -> float:
        return self.idle_w + self.first_core_w + (threads - 1) * self.further_core_w


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalProfile:
    """One thermal resistance and one time constant, from the board at rest (docs/board-facts.md 2d and 5d).

    clocks_hz: the full clock, then what it is throttled to step by step from throttle_c on. Below throttle_c by more
    than hysteresis_k the board runs at its full clock again.
    """

    rest_c: float
    resistance_k_per_w: float
    time_constant_s: float
    throttle_c: float
    hysteresis_k: float
    clocks_hz: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerMode:
    """Of nvpmodel: what it caps the clocks of cores and GPU to, and how many cores are on."""

    name: str
    frequency_hz: int
    cores: int
    gpu_hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockProfile:
    """What the cores' clock may be set to, and their voltage at some of these, ascending.

    available_hz: as cpufreq offers them. power_modes: nvpmodel's, by number; the first is the board as it is.
    """

    full_hz: int
    available_hz: tuple[int, ...]
    volts_at_hz: tuple[tuple[int, float], ...]
    power_modes: tuple[PowerMode, ...]

    @property
    def mode_names(self) -> tuple[str, ...]:
        """Those that a host may ask for, the board as it is first."""
        frequencies = sorted(self.available_hz, reverse=True)
        return tuple(mode.name for mode in self.power_modes) or tuple(f"{hz // 1_000_000}MHz" for hz in frequencies)

    def dynamic_share(self, frequency_hz: int) -> float:
        """Of the watts above idle at the full clock: they go with f V^2."""
        full = self.full_hz * self._volts(self.full_hz) ** 2
        return frequency_hz * self._volts(frequency_hz) ** 2 / full

    def _volts(self, frequency_hz: int) -> float:
        """Linear between the known ones, and beyond them that of the nearest."""
        pairs = self.volts_at_hz
        if frequency_hz <= pairs[0][0]:
            return pairs[0][1]
        for (low_hz, low_v), (high_hz, high_v) in pairwise(pairs):
            if frequency_hz <= high_hz:
                return low_v + (high_v - low_v) * (frequency_hz - low_hz) / (high_hz - low_hz)
        return pairs[-1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardProfile:
    """note: what the costs were fitted on, in words for users. model, compatible: as the device tree names the board.

    fan_level: of a fan kept at one speed, None without a fan.
    """

    name: str
    note: str
    model: str
    compatible: tuple[str, ...]
    fan_level: int | None
    cpu_count: int
    memory_bytes: int
    default_threads: int
    power: PowerProfile
    thermal: ThermalProfile
    clocks: ClockProfile
    runtimes: tuple[RuntimeCosts, ...]

    @property
    def costs(self) -> CostTable:
        """Of ONNX Runtime on the cores in single precision, which every board has."""
        return self.costs_of(RuntimeOptions(name="onnxruntime", threads=1, provider="CPUExecutionProvider")).table

    def costs_of(self, options: RuntimeOptions) -> RuntimeCosts:
        """Raises WorkerError, LOAD_FAILED or WRONG_PROVIDER, for what this board has no costs of."""
        return find_costs(self.name, self.runtimes, options)

    @property
    def figures(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """The precisions that it has costs of, by runtime and provider; a GPU's first, as runtimes list them."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for costs in sorted(self.runtimes, key=lambda costs: costs.gpu_busy_w is None):
            providers = found.setdefault(costs.runtime, {})
            providers[costs.provider] = (*providers.get(costs.provider, ()), *costs.precisions)
        return found

    @property
    def clocks_hz(self) -> tuple[int, ...]:
        """Every clock that the cores may ever have, the highest first."""
        modes = (mode.frequency_hz for mode in self.clocks.power_modes)
        return tuple(sorted({*self.thermal.clocks_hz, *self.clocks.available_hz, *modes}, reverse=True))

    @property
    def has_throttle_bits(self) -> bool:
        """The firmware of a Raspberry Pi tells them."""
        return self.model.startswith("Raspberry Pi")


@cache
def load_profile(name: str) -> BoardProfile:
    """Raises ConfigError for a name that is not in BOARD_NAMES."""
    if name not in BOARD_NAMES:
        raise ConfigError(f"no simulated board is called {name!r}: known are {', '.join(BOARD_NAMES)}")
    text = (files("edgepareto.agent.simulation") / "boards" / f"{name}.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    hardware, power, thermal, clocks = (document[table] for table in ("hardware", "power", "thermal", "clocks"))
    full_hz = int(constant(hardware, "frequency_hz"))
    return BoardProfile(
        name=document["name"],
        note=document["note"],
        model=document["model"],
        compatible=tuple(document["compatible"]),
        fan_level=int(constant(hardware, "fan_level")) if "fan_level" in hardware else None,
        cpu_count=int(constant(hardware, "cpu_count")),
        memory_bytes=int(constant(hardware, "memory_bytes")),
        default_threads=document["default_threads"],
        power=PowerProfile(
            idle_w=constant(power, "idle_w"),
            first_core_w=constant(power, "first_core_w"),
            further_core_w=constant(power, "further_core_w"),
            supply=Supply(
                open_circuit_v=constant(power, "supply_v"),
                source_ohm=constant(power, "source_ohm"),
                shunt_ohm=constant(power, "shunt_ohm"),
            ),
        ),
        thermal=ThermalProfile(
            rest_c=constant(thermal, "rest_c"),
            resistance_k_per_w=constant(thermal, "resistance_k_per_w"),
            time_constant_s=constant(thermal, "time_constant_s"),
            throttle_c=constant(thermal, "throttle_c"),
            hysteresis_k=constant(thermal, "hysteresis_k"),
            clocks_hz=(full_hz, *constants(thermal, "throttled_hz")),
        ),
        clocks=ClockProfile(
            full_hz=full_hz,
            available_hz=constants(clocks, "available_hz"),
            volts_at_hz=pairs(clocks, "volts_at_hz"),
            power_modes=tuple(_power_mode(name, mode) for name, mode in document.get("power_modes", {}).items()),
        ),
        runtimes=parse_costs(document["costs"]),
    )


def _power_mode(name: str, table: Table) -> PowerMode:
    return PowerMode(
        name=name,
        frequency_hz=int(constant(table, "frequency_hz")),
        cores=int(constant(table, "cores")),
        gpu_hz=int(constant(table, "gpu_hz")),
    )
