"""Looking into a model and pruning it, without any board."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from edgepareto.host.accuracy import Dataset, load_dataset
from edgepareto.host.api.group_ratios import ratios_per_group, read_group_ratios
from edgepareto.host.api.precious_files import precious_files
from edgepareto.host.config import Flags, Settings, read_settings
from edgepareto.host.config.section import did_you_mean
from edgepareto.host.domain import CRITERIA, RECOVERIES, Genome
from edgepareto.host.errors import ConfigError, DataError, EvaluationError, ModelError
from edgepareto.host.export import (
    must_not_overwrite,
    output_must_be_writable,
    read_model,
    require_sound,
    write_model_bytes,
)
from edgepareto.host.pruning import Analysis, PreparedModel, analyse, prepare
from edgepareto.host.views import PruneReport
from numpy.typing import NDArray

__all__ = ["Model", "inspect", "name_of", "opened_model", "prune"]

IMAGES = 512  # what a search repairs with; more gain little (docs/pruning.md)
UNCALIBRATED_CRITERIA = ("l1", "l2")
Model = str | Path | onnx.ModelProto
Images = Mapping[str, NDArray[np.generic]]


def inspect(model: Model, *, on_progress: Callable[[str], None] | None = None) -> Analysis:
    """The channel groups of a model, and what is frozen and why. Symbolic input sizes are no obstacle.

    `analysis.search_space(step)` has the widths that each group may be cut to. Raises ModelError where it is no sound
    ONNX model. on_progress: told in words what begins.
    """
    tell = on_progress or _ignore
    tell("reading the model")
    opened = opened_model(model)
    tell("looking for what can be pruned")
    return analyse(opened)


def prune(
    model: Model,
    output: str | Path | None = None,
    *,
    ratio: float | None = None,
    group_ratios: Mapping[str, float] | str | Path | None = None,
    step: int = 1,
    criterion: str | None = None,
    recover: str | None = None,
    calibration: str | Path | None = None,
    settings: str | Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> PruneReport:
    """Remove a share of the channels of every group, repair the rest, and write the model where `output` is given.

    ratio: of the channels to remove, in [0, 1). group_ratios: the same for single groups, by name or pattern
    ("layer1.*"), as a mapping or a TOML file; `ratio` is then for the others and 0 by default.
    step: kept channels are a multiple of it, or all; 1 is exact.
    criterion: what ranks channels, obs, l1, l2 or activation. recover: what repairs the rest, ls, moment or none.
    calibration: unlabelled samples for both, read with the [data] scale, offset and layout of `settings`; None: the
    settings' own. None of them given: obs and ls with calibration; l1 and none without, where accuracy is lost.
    on_progress: told in words what begins.
    Raises ConfigError for wrong options, DataError for calibration that does not fit the model, ModelError for a broken
    model or one with nothing to prune, WrongUse for an output that cannot be written or would overwrite an input.
    """
    _check_options(ratio, group_ratios, step, criterion, recover)
    target = None if output is None else Path(output)
    chosen = read_settings(
        None if settings is None else Path(settings),
        Flags(calibration=None if calibration is None else str(calibration)),
    )
    if target is not None:
        output_must_be_writable(target)
        if target.exists():
            must_not_overwrite(target, *_inputs(model, group_ratios, chosen))
    recipe = _recipe(chosen, criterion, recover)
    per_group, source = _group_ratios(group_ratios)
    tell = on_progress or _ignore
    analysis = inspect(model, on_progress=tell)
    if not analysis.groups:
        reasons = "; ".join(f"{g.name}: {g.reason}" for g in analysis.frozen) or "it has no layer with channels"
        raise ModelError(f"{name_of(model)}: nothing can be pruned ({reasons})")
    ratios = ratios_per_group(per_group, analysis, default=ratio or 0.0, source=source)
    dataset = _dataset(analysis, chosen) if recipe.needs_calibration or calibration is not None else None
    images = dataset.first(IMAGES).feed(slice(None)) if dataset is not None and recipe.needs_calibration else None
    genome = _genome(analysis, ratios, step)
    tell(f"ranking channels by {recipe.criterion}")
    prepared = _prepared(analysis, images, recipe.criterion)
    tell("cutting" if recipe.recover == "none" else f"cutting, and repairing by {recipe.recover}")
    pruned = prepared.prune(genome, recovery=recipe.recover)
    start = time.perf_counter()
    if target is not None:
        tell(f"writing {target}")
        write_model_bytes(pruned.content, target)
    seconds = asdict(pruned.seconds)
    seconds["serialise"] += time.perf_counter() - start
    return PruneReport(
        analysis=analysis,
        pruned=pruned,
        widths=genome.widths,
        criterion=recipe.criterion,
        recover=recipe.recover,
        images=None if prepared.dense is None else prepared.dense.images,
        step=step,
        seconds=seconds,
        file=target,
        doubts=() if dataset is None or images is None else dataset.doubts(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    criterion: str
    recover: str

    @property
    def needs_calibration(self) -> bool:
        return self.criterion not in UNCALIBRATED_CRITERIA or self.recover != "none"


def _ignore(words: str) -> None:
    """Nobody waits."""


def opened_model(model: Model) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        require_sound(model, name_of(model))
        return model
    return read_model(Path(model))


def name_of(model: Model) -> str:
    return "the model" if isinstance(model, onnx.ModelProto) else str(model)


def _check_options(
    ratio: float | None,
    group_ratios: Mapping[str, float] | str | Path | None,
    step: int,
    criterion: str | None,
    recover: str | None,
) -> None:
    if ratio is None and group_ratios is None:
        raise ConfigError(
            "no ratio: give --ratio, the share of every group's channels to remove, or --group-ratios FILE"
        )
    if ratio is not None and not isinstance(ratio, (int, float)):
        raise ConfigError(f"ratio {ratio!r}: must be a number such as 0.5, the share of channels to remove")
    if ratio is not None and not 0 <= ratio < 1:
        raise ConfigError(f"--ratio {ratio:g}: must be 0 or more and below 1, the share of channels to remove")
    if step < 1:
        raise ConfigError(f"--step {step}: must be a whole number, 1 or more")
    for flag, value, allowed in (("--criterion", criterion, CRITERIA), ("--recover", recover, RECOVERIES)):
        if value is not None and value not in allowed:
            raise ConfigError(
                f"{flag} {value}: is not known; choose {', '.join(allowed)}{did_you_mean(value, allowed)}"
            )


def _recipe(chosen: Settings, criterion: str | None, recover: str | None) -> _Recipe:
    """The flags, else the settings' own; without calibration what needs none, unless a flag asks for more."""
    if chosen.data.calibration is not None:
        return _Recipe(criterion=criterion or chosen.search.criterion, recover=recover or chosen.search.recovery)
    if criterion is not None and criterion not in UNCALIBRATED_CRITERIA:
        raise ConfigError(
            f"--criterion {criterion}: needs calibration samples; give --calibration, labels are not needed, or choose "
            f"{' or '.join(UNCALIBRATED_CRITERIA)}"
        )
    if recover not in (None, "none"):
        raise ConfigError(
            f"--recover {recover}: needs calibration samples; give --calibration, labels are not needed, or choose none"
        )
    usual = chosen.search.criterion if chosen.search.criterion in UNCALIBRATED_CRITERIA else UNCALIBRATED_CRITERIA[0]
    return _Recipe(criterion=criterion or usual, recover="none")


def _group_ratios(given: Mapping[str, float] | str | Path | None) -> tuple[Mapping[str, object], str]:
    """The ratios as given, and what a complaint about one begins with."""
    if given is None or isinstance(given, Mapping):
        return given or {}, "group_ratios"
    return read_group_ratios(Path(given)), str(given)


def _inputs(model: Model, group_ratios: Mapping[str, float] | str | Path | None, chosen: Settings) -> list[Path]:
    """Files that an output must not replace."""
    ratios = [Path(group_ratios)] if isinstance(group_ratios, (str, Path)) else []
    return [*precious_files(chosen, model), *ratios]


def _prepared(analysis: Analysis, images: Images | None, criterion: str) -> PreparedModel:
    """As `prepare`; a dense model that does not run on the calibration is the user's to mend, not a failure of ours."""
    try:
        return prepare(analysis, images, criterion=criterion, images=IMAGES)
    except EvaluationError as error:
        raise DataError(
            f"the unpruned model does not run on the calibration: {error}; mend either, or prune without calibration "
            "(--criterion l1 --recover none)"
        ) from error


def _dataset(analysis: Analysis, chosen: Settings) -> Dataset:
    source = chosen.data.calibration
    assert source is not None, "needed only where it is there"
    dataset = load_dataset(source, chosen.data, analysis.inputs, folder=chosen.folder, labelled=False)
    batch = max(dataset.batches.values())
    if len(dataset) < batch:
        raise DataError(f"{source}: holds {len(dataset)} samples, the model takes {batch} at a time; add some")
    return dataset


def _genome(analysis: Analysis, ratios: tuple[float, ...], step: int) -> Genome:
    """Every group at the allowed width nearest to what its ratio leaves."""
    space = analysis.search_space(step)
    even = {ratio: space.uniform(1 - ratio) for ratio in set(ratios)}
    return Genome(widths=tuple(even[ratio].widths[group] for group, ratio in enumerate(ratios)))
