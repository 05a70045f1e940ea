"""What candidates are distilled towards: the unpruned model's outputs on the samples that repair them.

They are judged by some that candidates are scored on, of which no label is looked at unless labels are taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from edgepareto.host.accuracy import TEACHING, InputSpec, load_dataset
from edgepareto.host.config import DataConfig
from edgepareto.host.config.values import is_function, needs_labels
from edgepareto.host.distil.teacher import Teacher
from edgepareto.host.errors import ConfigError
from edgepareto.host.study.scored_samples import Split, for_recovery, scored_samples

__all__ = ["load_teacher", "require_classes"]

JUDGED_BY = 500  # samples: their mean divergence is known to a few percent


def require_classes(metric: str) -> None:
    """Raises ConfigError where labels cannot be taught: nothing says then that they are classes."""
    if is_function(metric) or not needs_labels(metric):
        raise ConfigError(
            f"metric {metric}: labels can be taught where it is top1 or precision, which say that they are classes; "
            "drop --distil-labels (--labels of host distil): distillation needs none"
        )


def load_teacher(
    dense: onnx.ModelProto,
    data: DataConfig,
    inputs: Sequence[InputSpec],
    *,
    images: int | None,
    is_labelled: bool,
    metric: str,
    search_images: int,
    folder: Path,
    classes: int | None,
) -> Teacher:
    """images: how many of the calibration samples; None: all. is_labelled: they must have labels, which are taught too.

    A metric of the user's own does not say that the outputs are classes: their values are then taught, not their
    shares. Raises DataError, ConfigError, EvaluationError.
    """
    assert data.calibration is not None, "no study is without"
    if is_labelled:
        require_classes(metric)
    loaded = load_dataset(
        data.calibration,
        data,
        inputs,
        folder=folder,
        labelled=is_labelled,
        purpose=TEACHING,
        classes=classes if is_labelled else None,
    )
    taught = for_recovery(loaded, data, search_images).spread(len(loaded) if images is None else images)
    judges = scored_samples(
        Split.VALIDATION, data, inputs, metric=metric, search_images=search_images, folder=folder, classes=classes
    ).spread(JUDGED_BY)
    return Teacher.of(
        dense,
        taught.feed(slice(None)),
        judges.feed(slice(None)),
        labels=None if taught.labels is None or judges.labels is None else (taught.labels, judges.labels),
        has_classes=not is_function(metric),
    )
