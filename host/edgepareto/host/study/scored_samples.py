"""The samples that candidates are scored on: with labels where the metric needs them.

A search without labels need not name validation data either: what of the calibration samples its recovery leaves over
serves as well, since neither needs to know a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from edgepareto.host.accuracy import Dataset, DenseModel, InputSpec, load_dataset, predictor
from edgepareto.host.config import DataConfig, needs_labels
from edgepareto.host.domain import Candidate
from edgepareto.host.errors import ConfigError, DataError
from edgepareto.host.study.model_files import model_file

__all__ = ["Split", "for_recovery", "scored_samples", "stored_dense"]

FEWEST_LEFT_OVER = 200  # with nine of ten agreeing the standard error is two points


class Split(str, Enum):
    """Which samples: those that the search scores on, or those that only report a finished front."""

    VALIDATION = "validation"
    TEST = "test"


def scored_samples(
    split: Split,
    data: DataConfig,
    inputs: Sequence[InputSpec],
    *,
    metric: str,
    search_images: int,
    folder: Path,
    classes: int | None,
) -> Dataset:
    """folder: what a relative path, or a user's module, is relative to. classes: of the model, where that is known.

    Raises DataError, and ConfigError where the settings name no such samples and none are left over.
    """
    labelled = needs_labels(metric)
    source = data.validation if split is Split.VALIDATION else data.test
    if source is not None:
        return load_dataset(
            source, data, inputs, folder=folder, labelled=labelled, classes=classes if labelled else None
        )
    if split is Split.TEST:
        raise DataError("the study names no test data")
    if labelled:
        raise ConfigError("no validation samples: candidates are scored on them; give --validation, with labels")
    assert data.calibration is not None, "checked before a search begins"
    calibration = load_dataset(data.calibration, data, inputs, folder=folder, labelled=False)
    left = len(calibration) - search_images
    if left < FEWEST_LEFT_OVER:
        raise ConfigError(
            f"no validation samples: candidates are scored on them; give --validation, labels are not needed (of the "
            f"{len(calibration)} calibration samples recovery leaves {max(left, 0)}, {FEWEST_LEFT_OVER} would do)"
        )
    return calibration.apart(search_images)[1]


def for_recovery(calibration: Dataset, data: DataConfig, search_images: int) -> Dataset:
    """Without those that candidates are scored on."""
    return calibration if data.validation is not None else calibration.apart(search_images)[0]


def stored_dense(models: Path, dense: Candidate) -> DenseModel:
    """The unpruned model as a study keeps it: its base may have moved since."""
    return DenseModel(lambda: predictor(model_file(models, str(dense.model_sha256))))
