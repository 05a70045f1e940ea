"""edgepareto.toml and the flags over it. The file's settings, by table:

model, study                                    paths, relative to the file's folder
[data]         calibration validation test scale offset layout; [data.shapes] input = [sizes]
[search]       devices algorithm metric population generations measurements minutes seed preset energy min_accuracy
               max_latency_ms max_energy_mj criterion recovery search_images finalist_images branches like distil
               distil_labels workers runtimes precisions threads clock_modes
[devices.NAME] one of simulate, local, ssh or address; and what `values.DeviceConfig` has
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from edgepareto.host.config.devices import chosen_devices, known_devices, refuse_problems
from edgepareto.host.config.inventory import read_inventory
from edgepareto.host.config.section import Section
from edgepareto.host.config.toml_file import TomlFile, read_toml
from edgepareto.host.config.values import (
    ALGORITHMS,
    ENERGIES,
    METRIC_NAMES,
    PRESETS,
    DataConfig,
    DeviceConfig,
    SearchConfig,
    StudyConfig,
    is_function,
    needs_labels,
)
from edgepareto.host.domain.candidate import CRITERIA, RECOVERIES
from edgepareto.host.domain.deployment import PRECISIONS, RUNTIMES
from edgepareto.host.domain.front import Constraints
from edgepareto.host.errors import ConfigError

__all__ = ["FILE_NAME", "Flags", "Settings", "read_devices", "read_known", "read_settings", "settings_file"]

FILE_NAME = "edgepareto.toml"
DEFAULT_STUDY = "study"
Choice = TypeVar("Choice", int, str)
LAYOUTS = ("NCHW", "NHWC")
SHAPE = re.compile(r"(.+)=(\d+(?:,\d+)*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line, or a caller in Python, sets over the file. None: not given. Paths from the current folder.

    devices: names, groups, HOST:PORT, or whole DeviceConfigs. shapes: as typed, `x=1,3,224,224`. runtimes, precisions,
    threads, clock_modes: as typed, `fp32,int8` or `all`.
    """

    model: str | None = None
    study: str | None = None
    calibration: str | None = None
    validation: str | None = None
    test: str | None = None
    scale: float | str | None = None
    offset: float | str | None = None
    layout: str | None = None
    shapes: tuple[str, ...] = ()
    devices: tuple[str | DeviceConfig, ...] | None = None
    algorithm: str | None = None
    metric: str | None = None
    population: int | None = None
    generations: int | None = None
    measurements: int | None = None
    minutes: float | None = None
    seed: int | None = None
    preset: str | None = None
    energy: str | None = None
    min_accuracy: float | None = None
    max_latency_ms: float | None = None
    max_energy_mj: float | None = None
    criterion: str | None = None
    recovery: str | None = None
    search_images: int | None = None
    finalist_images: int | None = None
    branches: bool | None = None
    like: str | None = None
    distil: bool | None = None
    distil_labels: float | None = None
    workers: int | None = None
    runtimes: str | None = None
    precisions: str | None = None
    threads: str | None = None
    clock_modes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is set, checked, with the defaults filled in. file: None where there is none.

    Data paths are absolute; a `module:function` stays as it is and is looked for in `folder`, the file's own or the
    current one.
    devices: those chosen, else every [devices.NAME] of the file. known: every device that has a name, here or in the
    user's own inventory.
    """

    file: Path | None
    folder: Path
    model: Path | None
    study: Path
    data: DataConfig
    devices: tuple[DeviceConfig, ...]
    known: tuple[DeviceConfig, ...]
    search: SearchConfig

    def study_config(self) -> StudyConfig:
        """Raises ConfigError where a search lacks something, naming the flag and the setting that give it."""
        missing = "no {what}: give {flag}, or set {setting} in " + FILE_NAME
        if self.model is None:
            raise ConfigError(missing.format(what="model", flag="--model M.onnx", setting="model"))
        for key in ("calibration", *(["validation"] if needs_labels(self.search.metric) else [])):
            if getattr(self.data, key) is None:
                raise ConfigError(missing.format(what=f"{key} data", flag=f"--{key} FILE", setting=f"[data] {key}"))
        if not self.devices:
            raise ConfigError(missing.format(what="device", flag="--devices NAME[,NAME]", setting="[devices.NAME]"))
        return StudyConfig(
            folder=self.folder,
            model=self.model,
            study=self.study,
            data=self.data,
            devices=self.devices,
            search=self.search,
        )


def settings_file(folder: Path | None = None) -> Path | None:
    """The edgepareto.toml of a folder, the current one by default; parents are not searched."""
    path = (folder or Path.cwd()) / FILE_NAME
    return path if path.is_file() else None


def read_settings(file: Path | None, flags: Flags, *, defaults: SearchConfig | None = None) -> Settings:
    """Read the file where there is one, put the flags over it, check everything. Raises ConfigError.

    With devices chosen by a flag, what the file says wrongly of others is nobody's matter.

    defaults: of the search, where neither says anything; a study that goes on keeps its own.
    """
    source = None if file is None else read_toml(file)
    folder = Path.cwd() if file is None else file.resolve().parent
    given = {field.name: getattr(flags, field.name) for field in fields(flags)}
    top = Section(source, (), {key: given[key] for key in ("model", "study")})
    for table in ("data", "search", "devices"):
        top.subtable(table)
    model = top.path("model", folder)
    study = top.path("study", folder) or folder / DEFAULT_STUDY
    top.refuse_unknown()
    search_section = Section(source, ("search",), {key: given[key] for key in given if key != "devices"})
    search = _search(search_section, defaults or SearchConfig())
    chosen: Sequence[str | DeviceConfig] | None = search_section.texts("devices")
    search_section.refuse_unknown()
    known = known_devices(source, read_inventory())
    devices = chosen_devices(chosen if flags.devices is None else flags.devices, known, file)
    refuse_problems(known if flags.devices is None else devices)
    return Settings(
        file=file,
        folder=folder,
        model=model,
        study=study,
        data=_data(source, given, flags.shapes, folder),
        devices=devices,
        known=known,
        search=search,
    )


def read_known(file: Path | None) -> tuple[DeviceConfig, ...]:
    """Every device that has a name, some with a problem; nothing else in the file is looked at. Raises ConfigError."""
    return known_devices(_devices_file(file), read_inventory())


def read_devices(
    file: Path | None, names: Sequence[str | DeviceConfig] | None, *, otherwise: str | None = None
) -> tuple[DeviceConfig, ...]:
    """Those named, of `read_known`. None: what a search would take, else all; some may have a problem then.

    otherwise: what to do about a name that is not known. Raises ConfigError.
    """
    source = _devices_file(file)
    known = known_devices(source, read_inventory())
    if names is None:
        return chosen_devices(Section(source, ("search",), {}).texts("devices"), known, file) or known
    chosen = chosen_devices(names, known, file, otherwise=otherwise)
    refuse_problems(chosen)
    return chosen


def _devices_file(file: Path | None) -> TomlFile | None:
    source = None if file is None else read_toml(file)
    top = Section(source, (), {})
    for table in ("search", "devices"):
        top.subtable(table)
    return source


def _data(source: TomlFile | None, given: dict[str, object], shapes: Sequence[str], folder: Path) -> DataConfig:
    section = Section(source, ("data",), given)
    section.subtable("shapes")
    places = {key: _data_place(section, key, folder) for key in ("calibration", "validation", "test")}
    defaults = DataConfig()
    scale, offset = section.number("scale"), section.number("offset")
    if scale == 0:
        raise section.error("scale", "must not be 0, every input would be the same")
    data = DataConfig(
        calibration=places["calibration"],
        validation=places["validation"],
        test=places["test"],
        scale=defaults.scale if scale is None else scale,
        offset=defaults.offset if offset is None else offset,
        layout=section.choice("layout", LAYOUTS) or defaults.layout,
        shapes=_shapes(source, shapes),
    )
    section.refuse_unknown()
    return data


def _data_place(section: Section, key: str, folder: Path) -> str | None:
    """An absolute path, or module:function as it stands where no file has that name."""
    text = section.text(key)
    path = section.path(key, folder)
    if text is None or path is None:
        return None
    return text if is_function(text) and not path.exists() else str(path)


def _shapes(source: TomlFile | None, typed: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    section = Section(source, ("data", "shapes"), {})
    shapes = {name: section.sizes(name) or () for name in section.names}
    for text in typed:
        match = SHAPE.fullmatch(text)
        if match is None or "0" in match.group(2).split(","):
            raise ConfigError(f"--shape {text}: must read INPUT=SIZE,SIZE,... as in x=1,3,224,224")
        shapes[match.group(1)] = tuple(int(size) for size in match.group(2).split(","))
    return tuple(shapes.items())


def _search(section: Section, defaults: SearchConfig) -> SearchConfig:
    generations = section.integer("generations", least=1)
    measurements = section.integer("measurements", least=1)
    minutes = section.number("minutes", above=0)
    if (generations, measurements, minutes) == (None, None, None):
        # Only then: a budget that nobody typed must not end a search before the one that somebody did.
        generations, measurements, minutes = defaults.generations, defaults.measurements, defaults.minutes
    seed = section.integer("seed", least=0)
    least_accuracy = section.number("min_accuracy", above=0, most=1)
    branches = section.flag("branches")
    distil, labels = section.flag("distil"), section.number("distil_labels", above=0)
    limits = defaults.constraints
    latency_ms = section.number("max_latency_ms", above=0)
    energy_mj = section.number("max_energy_mj", above=0)
    return SearchConfig(
        algorithm=section.choice("algorithm", ALGORITHMS) or defaults.algorithm,
        metric=_metric(section) or defaults.metric,
        population=section.integer("population", least=4) or defaults.population,
        generations=generations,
        measurements=measurements,
        minutes=minutes,
        seed=defaults.seed if seed is None else seed,
        preset=section.choice("preset", PRESETS) or defaults.preset,
        energy=section.choice("energy", ENERGIES) or defaults.energy,
        constraints=Constraints(
            min_accuracy=limits.min_accuracy if least_accuracy is None else least_accuracy,
            max_latency_s=limits.max_latency_s if latency_ms is None else latency_ms * 1e-3,
            max_energy_j=limits.max_energy_j if energy_mj is None else energy_mj * 1e-3,
        ),
        criterion=section.choice("criterion", CRITERIA) or defaults.criterion,
        recovery=section.choice("recovery", RECOVERIES) or defaults.recovery,
        search_images=section.integer("search_images", least=1) or defaults.search_images,
        finalist_images=section.integer("finalist_images", least=1) or defaults.finalist_images,
        branches=defaults.branches if branches is None else branches,
        like=section.text("like"),
        distil=(defaults.distil or labels is not None) if distil is None else distil,
        distil_labels=defaults.distil_labels if labels is None else labels,
        workers=section.integer("workers", least=1) or defaults.workers,
        runtimes=_else(section.several("runtimes", RUNTIMES), defaults.runtimes),
        precisions=_else(section.several("precisions", PRECISIONS), defaults.precisions),
        threads=_else(_thread_counts(section), defaults.threads),
        clock_modes=_else(section.several("clock_modes"), defaults.clock_modes),
    )


def _thread_counts(section: Section) -> tuple[int, ...] | None:
    words = section.several("threads")
    if words is None:
        return None
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise section.error("threads", 'must be "all" or numbers of threads, 1 or more, as in 1,2,4')
    return tuple(sorted(int(word) for word in words))


def _else(given: tuple[Choice, ...] | None, otherwise: tuple[Choice, ...] | None) -> tuple[Choice, ...] | None:
    return otherwise if given is None else given


def _metric(section: Section) -> str | None:
    text = section.text("metric")
    if text is not None and is_function(text):
        return text
    return section.choice("metric", (*METRIC_NAMES, "module:function"))
