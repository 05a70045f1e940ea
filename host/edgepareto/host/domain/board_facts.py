"""What a board is made of, as a look over SSH tells before anything is installed, and what each finding means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["BoardFacts", "Check", "CheckState", "Disk", "I2cBus", "PythonFound", "Sudo"]


class CheckState(Enum):
    OK = "ok"
    NOTE = "note"  # works, and the user should know
    FAIL = "fail"  # nothing is installed


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of a preflight. advice: what to do; empty where nothing is to be done."""

    name: str
    seen: str
    state: CheckState
    advice: str = ""


class Sudo(Enum):
    """What it says to the user who logged in. ASKS: for a password; whether it would help, sudo keeps to itself."""

    OPEN = "yes"
    ASKS = "asks"
    REFUSES = "refuses"
    ABSENT = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonFound:
    path: str
    version: tuple[int, int, int]
    bits: int
    has_venv: bool

    @property
    def is_private(self) -> bool:
        """Below somebody's home, which the service's user cannot read."""
        return self.path.startswith(("/home/", "/root/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    free_bytes: int
    options: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class I2cBus:
    number: int
    group: str
    is_open: bool  # to the user who logged in
    adapter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFacts:
    """architecture: as `uname -m`; bits: of the system's programs. glibc None: another C library, or unknown.

    jetson_linux: (35, 4) for R35.4.x, on a Jetson. systemd: its version, None where it does not run. clock_ahead_s:
    of the board before the host. port_user: who listens on the agent's port. agent_release, agent_version: of an
    installed agent. disks: by folder. What is not known is None.
    """

    architecture: str
    bits: int | None
    user: str
    is_root: bool
    groups: frozenset[str]
    os: str
    kernel: str
    model: str | None
    jetson_linux: tuple[int, int] | None
    board_id: str
    libc: str
    glibc: tuple[int, int] | None
    pythons: tuple[PythonFound, ...]
    disks: dict[str, Disk]
    root_kind: str
    memory_bytes: int
    available_bytes: int
    has_memory_cgroup: bool
    clock_ahead_s: float
    systemd: int | None
    sudo: Sudo
    has_i2c_module: bool
    has_cpufreq: bool
    i2c: tuple[I2cBus, ...]
    meters: tuple[str, ...]
    port: int
    port_user: str | None
    agent_release: str | None
    agent_version: str | None
    agent_unit: str | None

    @property
    def python(self) -> PythonFound | None:
        """That the agent is installed with: the system's own where it fits."""
        fitting = [
            python
            for python in self.pythons
            if OLDEST_PYTHON <= python.version[:2] <= NEWEST_PYTHON and python.has_venv and not python.is_private
        ]
        return min(fitting, key=lambda python: (not python.path.startswith("/usr/bin/"), python.path), default=None)

    @property
    def has_agent(self) -> bool:
        return self.agent_release is not None


OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 14)
