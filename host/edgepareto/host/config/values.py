"""What a user may set, checked and complete."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from edgepareto.host.domain.deployment import RUNTIMES
from edgepareto.host.domain.front import Constraints
from edgepareto.host.domain.measurement import EnergyObjective

__all__ = [
    "AGREEMENT",
    "ALGORITHMS",
    "ENERGIES",
    "FAULTS",
    "METER_KINDS",
    "METRIC_NAMES",
    "PRESETS",
    "RUNTIMES",
    "SIMULATED_BOARDS",
    "DataConfig",
    "DeviceConfig",
    "SearchConfig",
    "StudyConfig",
    "is_function",
    "needs_labels",
    "score_word",
]

SURROGATE = "surrogate"
ALGORITHMS = (SURROGATE, "nsga2", "spea2", "sms-emoa", "random")
AGREEMENT = "agreement"  # the metric that needs no labels
METRIC_NAMES = ("top1", "precision", AGREEMENT)  # and module:function
PRESETS = ("quick", "standard", "audit")
# What agents of this release know by name; theirs to say, so a test compares.
SIMULATED_BOARDS = (
    "jetson-nano", "jetson-orin-nano", "raspberry-pi-4b", "raspberry-pi-5", "raspberry-pi-zero-2w",
)  # fmt: skip
FAULTS = (
    "i2c_error", "bus_stalls", "meter_stuck", "meter_reset", "meter_clipped", "no_meter", "chip_clock",
    "meter_offset_uv", "meter_gain", "noise", "drift", "hot", "undervoltage", "throttle_mid_block", "contention",
    "low_memory", "dies_after", "reboot_after", "crash", "hang", "oom", "wrong_output", "wrong_provider",
)  # fmt: skip
METER_KINDS = ("auto", "ina219", "hwmon", "jetson", "pi5_pmic", "rapl")  # as agent.toml takes them
ENERGIES = tuple(objective.value for objective in EnergyObjective)
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_function(text: str) -> bool:
    """Whether it reads module:function, as a source of samples or a metric may."""
    return FUNCTION.fullmatch(text) is not None


def needs_labels(metric: str) -> bool:
    return metric != AGREEMENT


def score_word(metric: str) -> str:
    """What a score is called in a sentence."""
    return AGREEMENT if metric == AGREEMENT else "accuracy"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the samples are (.npz, a folder of images by class, or module:function) and how integers become inputs.

    scale and offset apply to integer arrays only: input = x * scale + offset. layout: of the arrays in the file.
    shapes: sizes for the symbolic dimensions of an input, other than the batch axis.
    """

    calibration: str | None = None
    validation: str | None = None
    test: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    layout: str = "NCHW"
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """One device: simulate (a board's name), local, or an agent at address ("host:port" or "unix:/path").

    ssh: "user@host" or an alias of ~/.ssh/config, where the board is installed from; ssh_port and ssh_key None: as
    ~/.ssh/config has it; host_key: its SHA256:... where the user gave it. An address that is not given is ssh's host.
    board_id: of the agent that `host deploy` put there; set, the agent is dialled with mTLS under that name; not set,
    only an agent of this machine is dialled, in plain text. trust: file with the CA that signed the board's certificate
    where that is not our own (a colleague's board). meter, shunt_ohm: what deploy writes into its agent.toml.
    group: boards of one kind, to be named together. origin: the file it stands in; None: built in. overridden_by: the
    edgepareto.toml that sets some of its keys otherwise.
    problem: what is wrong with its entry in edgepareto.toml, told where the device is used; of the rest then only name,
    group and origin are set.
    step: channel multiple of the widths; None: what was learned of the device, else DEFAULT_STEP (domain).
    clock_modes: that a search may ask for, where the device has them: deploy writes them on a board. Empty: none, of a
    simulated board all that it has.
    shared: whether the machine works for others meanwhile, also one that is deployed to; None leaves it to the agent,
    which says yes of this machine and no of a board.
    pace: of a simulated board, real seconds per measured second, 0 as fast as it goes; no number depends on it.
    """

    name: str
    simulate: str | None = None
    local: bool = False
    address: str | None = None
    ssh: str | None = None
    ssh_port: int | None = None
    ssh_key: Path | None = None
    host_key: str | None = None
    board_id: str | None = None
    trust: Path | None = None
    meter: str | None = None
    shunt_ohm: float | None = None
    group: str | None = None
    origin: Path | None = None
    overridden_by: Path | None = None
    problem: str | None = None
    seed: int = 0
    threads: int | None = None
    step: int | None = None
    shared: bool | None = None
    runtime: str = "onnxruntime"
    clock_modes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    pace: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """Budgets: the search ends at whichever of generations, measurements (per device) and minutes comes first; the
    end phase (re-measuring the front, test scores) comes after it.

    runtimes, precisions, threads, clock_modes: how models may be run, for every device; (): all that it offers; None:
    as it is set, and 32 bits.
    search_images, finalist_images: calibration samples that a pruned model is repaired with, all where there are fewer.
    finalist_images None: all, as it was before it could be set.
    branches: whether residual branches may be left out as a whole. like: the device of the study whose findings a new
    one starts from; None: one that is at its end, where there is one.
    distil: whether finalists get a distilled version each; distil_labels: the weight of the calibration samples' labels
    in it, 0: none are needed.
    energy: one of ENERGIES, which every device must then be able to measure; None: total, where a device has a meter.
    """

    algorithm: str = SURROGATE
    metric: str = "top1"
    population: int = 20
    generations: int | None = None
    measurements: int | None = 200
    minutes: float | None = None
    seed: int = 0
    preset: str = "standard"
    energy: str | None = None
    constraints: Constraints = field(default_factory=Constraints)
    criterion: str = "obs"
    recovery: str = "ls"
    search_images: int = 512
    finalist_images: int | None = 1024
    branches: bool = True
    like: str | None = None
    distil: bool = False
    distil_labels: float = 0.0
    workers: int = 2
    runtimes: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    threads: tuple[int, ...] | None = None
    clock_modes: tuple[str, ...] | None = None

    @property
    def generation(self) -> int:
        """How many candidates one has, but for the first: a search that learns asks for fewer at a time."""
        return self.population // 2 if self.algorithm == SURROGATE else self.population


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """All that a search needs. Paths are absolute; every field was checked.

    folder: where a user's module:function is looked for: that of edgepareto.toml, else the current one.
    """

    folder: Path
    model: Path
    study: Path
    data: DataConfig
    devices: tuple[DeviceConfig, ...]
    search: SearchConfig
