"""What a device is and what its agent says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

from edgepareto.host.domain.deployment import ON_A_DEVICE, ON_GPU

__all__ = ["DeviceInfo", "DeviceName", "Meter", "MeterQuality", "RuntimeVersion"]

DeviceName = NewType("DeviceName", str)
LIBRARIES = {"litert": "ai-edge-litert"}


class MeterQuality(str, Enum):
    MEASURED = "measured"
    COUNTER = "counter"
    ESTIMATE = "estimate"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What tells the board's power. `fault`: its self-test failed, it cannot be used, and why."""

    kind: str
    quality: MeterQuality
    address: int | None = None
    shunt_ohm: float | None = None
    config: int | None = None
    calibration: int | None = None
    rail: str | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeVersion:
    """version: as the agent tells it, "2.14.0 (tflite-runtime)" where another library has the runtime's name.

    figures: of a simulated board, the precisions that it has figures of, by provider; a real one has none.
    """

    name: str
    version: str
    providers: tuple[str, ...]
    figures: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def lacks_figures(self, provider: str, precision: str) -> bool:
        """Of a simulated board; a real one is measured instead."""
        return bool(self.figures) and precision not in self.figures.get(provider, ())

    @property
    def library(self) -> str:
        """The distribution that it is on the device."""
        named = re.search(r"\(([\w-]+)\)", self.version)
        return named[1] if named else LIBRARIES.get(self.name, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """A device's agent about itself. `meter` None: none found. `shares_host_cores`: not while the host computes.

    fixes_clocks: while a lease is held, because the board's owner allows it. clock_modes: that a host may ask for.
    protocol: version of the wire that both sides speak.
    """

    name: DeviceName
    agent_version: str
    board_id: str
    boot_id: str
    board: str
    simulated: bool
    architecture: str
    os: str
    cpu_count: int
    memory_bytes: int
    runtimes: tuple[RuntimeVersion, ...]
    meter: Meter | None
    default_threads: int
    shares_host_cores: bool
    profile_note: str | None = None
    fixes_clocks: bool = False
    clock_modes: tuple[str, ...] = ()
    protocol: int = 1

    def runtime(self, name: str) -> RuntimeVersion | None:
        """The installed one that can be asked for by this name of RUNTIMES."""
        own_name, provider = ON_A_DEVICE[name]
        found = (runtime for runtime in self.runtimes if runtime.name == own_name)
        return next((runtime for runtime in found if name not in ON_GPU or provider in runtime.providers), None)
