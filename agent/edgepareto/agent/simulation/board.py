"""A simulated board is a folder: board.toml, the clock, the timeline of what was drawn, and a fake /sys and /proc."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from edgepareto.agent.errors import ConfigError
from edgepareto.agent.simulation.board_file import BoardSettings, read_settings, write_settings
from edgepareto.agent.simulation.clock import SimulatedClock, create_clock, has_rebooted
from edgepareto.agent.simulation.faults import parse_faults
from edgepareto.agent.simulation.profile import BOARD_NAMES, load_profile
from edgepareto.agent.simulation.sysfs import write_sys_tree

__all__ = ["BOARD_NAMES", "SimulatedBoard", "SimulatedDevice", "create_board", "open_board"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDevice:
    """What the board tells of itself. note: what its costs were fitted on. clock_modes: all that it has.

    figures: by runtime and provider, the precisions that it has costs of.
    """

    board: str
    board_id: str
    boot_id: str
    cpu_count: int
    memory_bytes: int
    default_threads: int
    has_meter: bool
    note: str
    clock_modes: tuple[str, ...]
    figures: Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedBoard:
    folder: Path
    device: SimulatedDevice
    clock: SimulatedClock

    @property
    def sys_root(self) -> Path:
        return self.folder / "sys"


def create_board(
    profile: str, folder: Path, *, seed: int = 0, faults: Sequence[str] = (), pace: float = 0
) -> SimulatedBoard:
    """Write a board's folder, anew where there is one already, with its clock at 0, and open it. A board that the fault
    reboot_after has struck stays rebooted.

    profile: one of BOARD_NAMES. seed: boards of one profile differ by it. faults: by name, see faults.py.
    pace: real seconds per measured second; 0 as fast as it goes, 1 real time.
    Raises ConfigError for what is not known or not allowed.
    """
    load_profile(profile)
    parse_faults(faults)
    if not 0 <= pace < float("inf"):
        raise ConfigError(f"pace is {pace}, it must be 0 (as fast as it goes) or more (1 is real time)")
    folder.mkdir(parents=True, exist_ok=True)
    settings = BoardSettings(profile_name=profile, seed=seed, fault_names=tuple(faults), pace=pace)
    write_settings(folder, settings)
    boot_id = _device(settings, folder).boot_id
    write_sys_tree(folder / "sys", settings.profile, boot_id, available_bytes=settings.faults.available_bytes)
    create_clock(folder)
    return open_board(folder)


def open_board(folder: Path) -> SimulatedBoard:
    """Raises ConfigError where the folder is not a simulated board's."""
    return SimulatedBoard(folder=folder, device=_device(read_settings(folder), folder), clock=SimulatedClock(folder))


def _device(settings: BoardSettings, folder: Path) -> SimulatedDevice:
    profile = settings.profile
    boot = ("boot", "2") if has_rebooted(folder) else ("boot",)
    return SimulatedDevice(
        board=profile.name,
        board_id=settings.digest("board").hex()[:32],
        boot_id=str(UUID(bytes=settings.digest(*boot)[:16], version=4)),
        cpu_count=profile.cpu_count,
        memory_bytes=profile.memory_bytes,
        default_threads=profile.default_threads,
        has_meter=not settings.faults.no_meter,
        note=profile.note,
        clock_modes=profile.clocks.mode_names,
        figures=profile.figures,
    )
