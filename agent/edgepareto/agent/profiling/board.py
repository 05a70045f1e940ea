"""The board a batch is measured on: its clock, its files, its meter, and how its processes are started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepareto.agent.clock import Clock
from edgepareto.agent.conditions import ClockModes
from edgepareto.agent.engine_store import EngineStore
from edgepareto.agent.power.power_meter import MeterSetting

__all__ = ["Board", "MeterSetting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """sys_root: root of /sys and /proc. simulation: the folder of a simulated board, None on a real one; worker and
    sampler get the same arguments plus `--board FOLDER`. meter None: the board has none. shared: a virtual machine or a
    desk machine, where contention is a tag and not a void. engines: what was compiled of models before; None: none is
    kept. clock_modes None: none may be asked for.
    """

    clock: Clock
    sys_root: Path
    meter: MeterSetting | None
    default_threads: int
    shared: bool
    simulation: Path | None = None
    engines: EngineStore | None = None
    clock_modes: ClockModes | None = None
