"""The shipped profiles of boards: every constant with the source it came from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from math import sqrt

from edgepareto.agent.errors import ConfigError
from edgepareto.agent.simulation.cost_model import CostTable, OpKind, ThreadCosts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["BOARD_NAMES", "BoardProfile", "PowerProfile", "Supply", "load_profile"]

BOARD_NAMES = ("raspberry-pi-4b", "jetson-orin-nano")


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
class BoardProfile:
    """note: what the costs were fitted on, in words for users."""

    name: str
    note: str
    cpu_count: int
    memory_bytes: int
    frequency_hz: float
    idle_temperature_c: float
    default_threads: int
    power: PowerProfile
    costs: CostTable


def load_profile(name: str) -> BoardProfile:
    """Raises ConfigError for a name that is not in BOARD_NAMES."""
    if name not in BOARD_NAMES:
        raise ConfigError(f"no simulated board is called {name!r}: known are {', '.join(BOARD_NAMES)}")
    text = (files("edgepareto.agent.simulation") / "boards" / f"{name}.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    hardware, power, costs = document["hardware"], document["power"], document["costs"]
    return BoardProfile(
        name=document["name"],
        note=document["note"],
        cpu_count=int(_constant(hardware, "cpu_count")),
        memory_bytes=int(_constant(hardware, "memory_bytes")),
        frequency_hz=_constant(hardware, "frequency_hz"),
        idle_temperature_c=_constant(hardware, "idle_temperature_c"),
        default_threads=document["default_threads"],
        power=PowerProfile(
            idle_w=_constant(power, "idle_w"),
            first_core_w=_constant(power, "first_core_w"),
            further_core_w=_constant(power, "further_core_w"),
            supply=Supply(
                open_circuit_v=_constant(power, "supply_v"),
                source_ohm=_constant(power, "source_ohm"),
                shunt_ohm=_constant(power, "shunt_ohm"),
            ),
        ),
        costs=CostTable(
            channel_step=int(_constant(costs, "channel_step")),
            additive=costs["additive"],
            bytes_per_element=int(_constant(costs, "bytes_per_element")),
            fixed_s=_constant(costs, "fixed_us") / 1e6,
            rows={int(threads): _thread_costs(row) for threads, row in costs["threads"].items()},
        ),
    )


def _thread_costs(row: Mapping[str, Mapping[str, float | str]]) -> ThreadCosts:
    with_arithmetic = [kind for kind in OpKind if kind not in (OpKind.ELEMENTWISE, OpKind.POOL)]
    return ThreadCosts(
        flops_per_s={kind: _constant(row, f"{kind.value}_gflops") * 1e9 for kind in with_arithmetic},
        bytes_per_s=_constant(row, "memory_gb_per_s") * 1e9,
        weight_stream_bytes_per_s=_constant(row, "weight_stream_gb_per_s") * 1e9,
        dispatch_s=_constant(row, "dispatch_us") / 1e6,
        extra_reduction=_constant(row, "extra_reduction"),
    )


def _constant(table: Mapping[str, Mapping[str, float | str]], name: str) -> float:
    """A figure without a source is no figure."""
    entry = table[name]
    assert entry["source"], f"{name} has no source"
    return float(entry["value"])
