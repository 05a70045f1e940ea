"""Looking into a model and pruning it, without any board."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from edgepareto.host.accuracy import load_dataset
from edgepareto.host.config import Flags, read_settings
from edgepareto.host.errors import ConfigError, ModelError
from edgepareto.host.export import must_not_overwrite, output_folder_must_exist, read_model, write_model
from edgepareto.host.pruning import Analysis, PreparedModel, analyse, prepare
from edgepareto.host.views import PruneReport
from numpy.typing import NDArray

__all__ = ["inspect", "prune"]

IMAGES = 512  # what a search repairs with; more gain little (docs/pruning.md)


def inspect(model: str | Path) -> Analysis:
    """The channel groups of a model, and what is frozen and why. Symbolic input sizes are no obstacle.

    Raises ModelError where the file is no sound ONNX model.
    """
    return analyse(read_model(Path(model)))


def prune(
    model: str | Path,
    output: str | Path,
    *,
    ratio: float,
    step: int = 1,
    calibration: str | Path | None = None,
    settings: str | Path | None = None,
) -> PruneReport:
    """Remove the share `ratio` of the channels of every group, repair the rest, write the model to `output`.

    step: kept channels are a multiple of it; 1 is exact. calibration: unlabelled samples for ranking and repair, read
    with the [data] scale, offset and layout of `settings`; None: the settings' own, and without any the smallest
    weights go and nothing is repaired, which the report says.
    Raises ConfigError for a ratio outside [0, 1), ModelError for a broken model or one with nothing to prune.
    """
    if not 0 <= ratio < 1:
        raise ConfigError(f"--ratio {ratio:g}: must be 0 or more and below 1, the share of channels to remove")
    if step < 1:
        raise ConfigError(f"--step {step}: must be a whole number, 1 or more")
    output_folder_must_exist(Path(output))
    must_not_overwrite(Path(output), Path(model))
    flags = Flags(calibration=None if calibration is None else str(calibration))
    chosen = read_settings(None if settings is None else Path(settings), flags)
    data = chosen.data
    analysis = inspect(model)
    _must_have_groups(Path(model), analysis)
    images = None
    if data.calibration is not None:
        dataset = load_dataset(data.calibration, data, analysis.inputs, folder=chosen.folder, labelled=False)
        images = cast(Mapping[str, NDArray[np.float32]], dataset.first(IMAGES).feed(slice(None)))
    genome = analysis.search_space(step).uniform(1 - ratio)
    prepared, recovery = _prepared(analysis, images)
    pruned = prepared.prune(genome, recovery=recovery)
    start = time.perf_counter()
    write_model(pruned.model, Path(output))
    seconds = {
        "analyse": pruned.seconds.analyse,
        "rank": pruned.seconds.rank,
        "slice": pruned.seconds.slice,
        "recover": pruned.seconds.recover,
        "serialise": pruned.seconds.serialise + time.perf_counter() - start,
    }
    return PruneReport(
        analysis=analysis,
        widths=genome.widths,
        macs=pruned.macs,
        parameters=pruned.parameters,
        seconds=seconds,
        file=Path(output),
        recovered=recovery != "none",
    )


def _prepared(analysis: Analysis, images: Mapping[str, NDArray[np.float32]] | None) -> tuple[PreparedModel, str]:
    if images is None:
        return prepare(analysis, None, criterion="l1"), "none"
    return prepare(analysis, images, images=IMAGES), "ls"


def _must_have_groups(model: Path, analysis: Analysis) -> None:
    if not analysis.groups:
        reasons = (
            "; ".join(f"{group.name}: {group.reason}" for group in analysis.frozen) or "it has no layer with channels"
        )
        raise ModelError(f"{model}: nothing can be pruned ({reasons})")
