"""The rows of a study that are no candidates, and their JSON: no pickle, so any version can say what it finds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from edgepareto.host.config import DataConfig, DeviceConfig, SearchConfig
from edgepareto.host.domain import (
    AS_SET,
    Constraints,
    Deployment,
    DeploymentGenes,
    DeviceInfo,
    DeviceName,
    Genome,
    Meter,
    MeterQuality,
    ProfileTrace,
    RuntimeVersion,
)
from edgepareto.host.domain.learned_steps import DEFAULT_STEP, ChannelSteps, KernelKind

__all__ = [
    "BatchRecord",
    "DeviceRecord",
    "DeviceState",
    "FoundElsewhere",
    "Phase",
    "Route",
    "StudyIdentity",
    "genome_of",
    "genome_record",
]

DEFAULT_DEPLOYMENTS = DeploymentGenes()
GenomeRecord: TypeAlias = Any  # JSON: [width, ...] or {"widths": [width, ...], "dropped": [name, ...], ...}
CHOICES = ("runtimes", "precisions", "threads", "clock_modes")
# May change from run to run.
BUDGETS = ("generations", "measurements", "minutes", "workers", "distil", "distil_labels", "like")


class Phase(str, Enum):
    """When a batch was measured: a generation of the search, a round of the end phase, or on request after both.

    A remeasured batch belongs to no path of the search: a replay never meets it, and every front pools it.
    """

    SEARCH = "search"
    END = "end"
    REMEASURE = "remeasure"


class Route(str, Enum):
    """What became of a candidate that a search asked for. SPARED: thought hopeless, not measured; AUDITED: thought so
    and measured all the same. BELOW: not measured, its score alone is below the user's minimum."""

    SENT = "sent"
    BELOW = "below"
    SPARED = "spared"
    AUDITED = "audited"


class DeviceState(str, Enum):
    RUNNING = "running"
    COMPLETE = "complete"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyIdentity:
    """What makes a study that study. model: the file's path as given; test_sha256 None: no test split.

    libraries: versions that a replay depends on, (name, version). recovery: of what repairs pruned models
    (`pruning.RECOVERY_VERSION`); studies that do not say are of the first.
    """

    id: str
    model: str
    model_sha256: str
    calibration_sha256: str | None
    validation_sha256: str
    test_sha256: str | None
    data: DataConfig
    search: SearchConfig
    libraries: tuple[tuple[str, str], ...]
    recovery: int = 1

    def differences(self, other: StudyIdentity) -> list[str]:
        """What may not differ between two runs of one study and does, each in words: "name: here, there"."""
        found = [
            f"{name}: {mine}, {theirs}"
            for name, mine, theirs in (
                ("calibration data (sha256)", self.calibration_sha256, other.calibration_sha256),
                ("validation data (sha256)", self.validation_sha256, other.validation_sha256),
                ("test data (sha256)", self.test_sha256, other.test_sha256),
                *((f"data {f.name}", getattr(self.data, f.name), getattr(other.data, f.name)) for f in _kept_data()),
                *((f.name, *(_told(f.name, of.search) for of in (self, other))) for f in fields(SearchConfig)),
            )
            if mine != theirs and name not in BUDGETS
        ]
        return found

    def with_budgets_of(self, search: SearchConfig) -> StudyIdentity:
        """The same study with other budgets, for a run that goes on longer."""
        return replace(self, search=replace(self.search, **{name: getattr(search, name) for name in BUDGETS}))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StudyIdentity:
        raw = json.loads(text)
        data, search = raw["data"], raw["search"]
        shapes = tuple((name, tuple(sizes)) for name, sizes in data["shapes"])
        return cls(
            **{
                **raw,
                "data": DataConfig(**{**data, "shapes": shapes}),
                "search": SearchConfig(
                    **{
                        "finalist_images": None,  # a study of before it could be set
                        "branches": False,  # of before any could be left out
                        **search,
                        **{name: tuple(search[name]) for name in CHOICES if search.get(name) is not None},
                        "constraints": Constraints(**search["constraints"]),
                    }
                ),
                "libraries": tuple((name, version) for name, version in raw["libraries"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundElsewhere:
    """What a search starts from. rows: genomes and their costs on `device` (`Estimate.costs`)."""

    device: DeviceName
    rows: tuple[tuple[Genome, tuple[float, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRecord:
    """A device of the study. has_energy: energy is an objective on it, fixed when it was first connected or, where its
    meter fails then, in generation 0. meter_failure: how it failed in generation 0, None: it did not.

    reason: why the state is not COMPLETE, in words for the user. completed_with: the budgets (generations,
    measurements, minutes, and what its finalists were distilled with) with which it is COMPLETE, since a later run of
    some devices may have others.
    channel_steps: fixed when the study began on it; None: by an older edgepareto, which had one step for all groups.
    deployments: what its search chooses from, and elsewhere: what another device had found, fixed then as well.
    spares: whether what cannot enter the front is not measured (study/routing.py); no study of an older edgepareto did.
    """

    config: DeviceConfig
    info: DeviceInfo
    has_energy: bool
    state: DeviceState
    reason: str | None = None
    channel_steps: ChannelSteps | None = None
    completed_with: tuple[float | None, ...] | None = None
    meter_failure: str | None = None
    deployments: DeploymentGenes = DEFAULT_DEPLOYMENTS
    elsewhere: FoundElsewhere | None = None
    spares: bool = False

    def completed(self, search: SearchConfig) -> DeviceRecord:
        return replace(self, state=DeviceState.COMPLETE, reason=None, completed_with=_budgets(search))

    def is_complete(self, search: SearchConfig) -> bool:
        """Nothing is left to do on it with these budgets."""
        return self.state is DeviceState.COMPLETE and self.completed_with == _budgets(search)

    @property
    def name(self) -> DeviceName:
        return self.info.name

    @property
    def steps(self) -> int | tuple[int, ...]:
        """Of the search space: one for all groups, or one per group."""
        return self.config.step or DEFAULT_STEP if self.channel_steps is None else self.channel_steps.by_group

    @property
    def threads(self) -> int:
        return self.config.threads or self.info.default_threads

    def to_json(self) -> str:
        raw = dataclasses.asdict(self)
        if self.elsewhere is not None:
            rows = [[genome_record(genome), costs] for genome, costs in self.elsewhere.rows]
            raw["elsewhere"] = {"device": self.elsewhere.device, "rows": rows}
        return json.dumps(raw, default=str)  # paths

    @classmethod
    def from_json(cls, text: str) -> DeviceRecord:
        raw = json.loads(text)
        config, info, meter = raw["config"], raw["info"], raw["info"]["meter"]
        runtimes = (
            RuntimeVersion(
                **{
                    **r,
                    "providers": tuple(r["providers"]),
                    "figures": {provider: tuple(known) for provider, known in r.get("figures", {}).items()},
                }
            )
            for r in info["runtimes"]
        )
        return cls(
            config=DeviceConfig(
                **{
                    **config,
                    **_paths(config),
                    "faults": tuple(config["faults"]),
                    "clock_modes": tuple(config.get("clock_modes", ())),
                }
            ),
            info=DeviceInfo(
                **{
                    **info,
                    "runtimes": tuple(runtimes),
                    "clock_modes": tuple(info.get("clock_modes", ())),
                    "meter": meter and Meter(**{**meter, "quality": MeterQuality(meter["quality"])}),
                }
            ),
            has_energy=raw["has_energy"],
            state=DeviceState(raw["state"]),
            reason=raw["reason"],
            channel_steps=_channel_steps(**raw["channel_steps"]) if raw.get("channel_steps") else None,
            completed_with=tuple(raw["completed_with"]) if raw.get("completed_with") else None,
            meter_failure=raw.get("meter_failure"),
            deployments=_deployments(config, raw.get("deployments")),
            elsewhere=_elsewhere(**raw["elsewhere"]) if raw.get("elsewhere") else None,
            spares=raw.get("spares", False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A finished batch: the anchor's trace first, then the entries' in order.

    round: the generation, or the round of the end phase. number: its place among the device's batches of the search and
    its end phase, or among its remeasured ones.
    """

    request_key: str
    device: DeviceName
    phase: Phase
    round: int
    number: int
    traces: tuple[ProfileTrace, ...]


def _told(name: str, search: SearchConfig) -> object:
    """As a user would type it."""
    value = getattr(search, name)
    if name not in CHOICES:
        return "all" if name == "finalist_images" and value is None else value
    return "as set" if value is None else ",".join(map(str, value)) or "all"


def genome_record(genome: Genome) -> GenomeRecord:
    """The widths alone where it runs as the device is set and no branch is left out."""
    widths = list(genome.widths)
    way = {} if genome.deployment == AS_SET else dataclasses.asdict(genome.deployment)
    dropped = {"dropped": list(genome.dropped)} if genome.dropped else {}
    return {"widths": widths, **dropped, **way} if dropped or way else widths


def genome_of(raw: GenomeRecord) -> Genome:
    """The inverse of `genome_record`."""
    if isinstance(raw, list):
        return Genome(widths=tuple(raw))
    way = {name: value for name, value in raw.items() if name not in ("widths", "dropped")}
    return Genome(widths=tuple(raw["widths"]), deployment=Deployment(**way), dropped=tuple(raw.get("dropped", ())))


def _deployments(config: Mapping[str, object], raw: Mapping[str, Any] | None) -> DeploymentGenes:
    """raw None: by an edgepareto that had no choice of them."""
    if raw is None:
        return DeploymentGenes(formats=((str(config["runtime"]), AS_SET.precision),))
    formats = tuple((runtime, precision) for runtime, precision in raw["formats"])
    modes, threads = tuple(raw["clock_modes"]), tuple(raw["threads"])
    return DeploymentGenes(formats=formats, threads=threads, clock_modes=modes, usual_threads=raw["usual_threads"])


def _elsewhere(device: str, rows: Sequence[tuple[GenomeRecord, Sequence[float]]]) -> FoundElsewhere:
    found = tuple((genome_of(genome), tuple(costs)) for genome, costs in rows)
    return FoundElsewhere(device=DeviceName(device), rows=found)


def _paths(config: dict[str, str | None]) -> dict[str, Path]:
    """The fields of a DeviceConfig that JSON has as texts."""
    found = {key: config.get(key) for key in ("ssh_key", "trust", "origin", "overridden_by")}
    return {key: Path(text) for key, text in found.items() if text is not None}


def _channel_steps(by_group: list[int], learned: list[tuple[str, int]]) -> ChannelSteps:
    return ChannelSteps(by_group=tuple(by_group), learned=tuple((KernelKind(kind), step) for kind, step in learned))


def _budgets(search: SearchConfig) -> tuple[float | None, ...]:
    distilled = (1, search.distil_labels) if search.distil else ()
    return (search.generations, search.measurements, search.minutes, *distilled)


def _kept_data() -> list[dataclasses.Field[object]]:
    """Fields that say how arrays are read; where they lie may change, their hashes may not."""
    return [field for field in fields(DataConfig) if field.name not in ("calibration", "validation", "test")]
