"""What "good" means: top-1 accuracy, precision, agreement with the unpruned model, or a function of the user's. More is
better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from edgepareto.host.accuracy.dataset import Dataset
from edgepareto.host.accuracy.dense_model import Compared, DenseModel
from edgepareto.host.accuracy.feed import Predict
from edgepareto.host.accuracy.sources import WHAT_USER_CODE_RAISES, user_function
from edgepareto.host.config import AGREEMENT, is_function
from edgepareto.host.domain.paired_accuracy import pack_hits
from edgepareto.host.errors import ConfigError, DataError, EvaluationError
from numpy.typing import NDArray

__all__ = ["METRICS", "Metric", "Score", "agreement", "metric_by_name", "precision", "require_metric", "top1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a metric says of a model, more is better. hits: which samples were right, as `pack_hits` gives it; None
    where the value is no share of samples. divergence: from the unpruned model (`dense_model`), None where it was not
    looked at or could not be told."""

    value: float
    hits: bytes | None = None
    divergence: float | None = None


Metric = Callable[[Predict, Dataset], Score]


def top1(predict: Predict, dataset: Dataset) -> Score:
    """The share of samples whose highest output is their label."""
    predicted, _ = _classes(predict, dataset, "top1")
    hits = np.asarray(predicted == dataset.labels)
    return Score(value=float(np.mean(hits)), hits=pack_hits(hits))


def precision(predict: Predict, dataset: Dataset) -> Score:
    """TP / (TP + FP). With two classes that of class 1; with more the mean over classes (macro).

    A class that is never predicted has TP + FP = 0. It counts as 0 where it has samples, because a model must not gain
    by giving a class up; it does not count at all where it has none.
    """
    predicted, classes = _classes(predict, dataset, "precision")
    labels = dataset.labels
    assert labels is not None, "checked by _classes"
    positives = np.bincount(predicted, minlength=classes)
    hits = np.bincount(predicted[predicted == labels], minlength=classes)
    per_class = hits / np.maximum(positives, 1)
    if classes == 2:
        return Score(value=float(per_class[1]))
    present = (positives > 0) | (np.bincount(labels, minlength=classes) > 0)
    return Score(value=float(per_class[present].mean()))


def agreement(dense: DenseModel) -> Metric:
    """With the unpruned model, which has 1; labels are neither needed nor looked at.

    Of a classifier the share of samples to which both give the same class. Of any other output of floats R^2, the share
    of the dense outputs' variance that the model's explain, cut to 0 or more.
    """

    def metric(predict: Predict, dataset: Dataset) -> Score:
        outputs = dense.outputs(dataset)
        if outputs.classes is not None:
            return top1(predict, replace(dataset, labels=outputs.classes))
        if outputs.kept is None:
            raise DataError(
                "metric agreement compares outputs that are finite floats, and the model's first output is none; write "
                "a metric of your own as module:function"
            )
        compared = Compared(predict, outputs)
        for rows in dataset.chunks(outputs.rows_at_once):
            compared(dataset.feed(rows))
        if compared.divergence is None:
            raise EvaluationError(
                "metric agreement: the outputs are no finite numbers, have another shape than the unpruned model's, or "
                "its outputs are the same for every sample"
            )
        return Score(value=max(0.0, 1 - compared.divergence))

    return metric


METRICS: Mapping[str, Metric] = {"top1": top1, "precision": precision}


def metric_by_name(name: str, *, folder: Path | None = None, dense: DenseModel | None = None) -> Metric:
    """A built-in metric, or `module:function` taking (predict, dataset), looked for in `folder` (default: current).

    dense: needed for agreement. Raises ConfigError for any other name. The user's function must return a finite number,
    more is better.
    """
    if name == AGREEMENT:
        assert dense is not None, "who scores by agreement has the unpruned model"
        return agreement(dense)
    if name in METRICS:
        return METRICS[name]
    if not is_function(name):
        raise ConfigError(f"metric {name} is not known; choose {', '.join((*METRICS, AGREEMENT))} or module:function")
    function = user_function(name, folder=folder or Path.cwd())

    def from_user(predict: Predict, dataset: Dataset) -> Score:
        try:
            value = function(predict, dataset)
        except WHAT_USER_CODE_RAISES as error:
            raise EvaluationError(f"metric {name} raised {type(error).__name__}: {error}") from error
        if not isinstance(value, (int, float, np.number)) or not math.isfinite(float(value)):
            raise EvaluationError(f"metric {name} returned {value!r}; it must return a finite number, more is better")
        return Score(value=float(value))

    return from_user


def require_metric(name: str, *, folder: Path) -> None:
    """Raises as `metric_by_name`."""
    if name != AGREEMENT:
        metric_by_name(name, folder=folder)


def _classes(predict: Predict, dataset: Dataset, metric: str) -> tuple[NDArray[np.int64], int]:
    """The predicted class of every sample and the number of classes."""
    if dataset.labels is None:
        raise DataError(f"{dataset.source}: metric {metric} needs labels, key y; agreement needs none")
    predicted: list[NDArray[np.int64]] = []
    classes = 0
    for rows in dataset.chunks():
        output = predict(dataset.feed(rows))
        if output.ndim != 2 or output.shape[1] < 2:
            raise DataError(
                f"metric {metric} needs a model whose first output is (samples, classes), this one gives "
                f"{output.shape}; write a metric of your own as module:function"
            )
        classes = output.shape[1]
        predicted.append(output.argmax(axis=1).astype(np.int64))
    return np.concatenate(predicted), classes
