"""A model ready for any number of cuts: ranked once, dense targets taken once, then genome -> model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from edgepareto.host.domain import CRITERIA, RECOVERIES, Genome
from edgepareto.host.errors import ConfigError, DataError
from edgepareto.host.pruning.analysis import Analysis
from edgepareto.host.pruning.channel_labels import Labels
from edgepareto.host.pruning.importance import (
    activation_order,
    magnitude_order,
    surgeon_order,
)
from edgepareto.host.pruning.layer import LayerKind
from edgepareto.host.pruning.repair.dense_activations import DenseActivations, observe
from edgepareto.host.pruning.repair.layer_by_layer import recover
from edgepareto.host.pruning.repair.live_memory import fixed_batch
from edgepareto.host.pruning.repair.recurrent_gates import unit_rows
from edgepareto.host.pruning.repair.sensitivity import measure_sensitivities
from edgepareto.host.pruning.slice_model import kept_classes, slice_model
from numpy.typing import NDArray

__all__ = ["PhaseSeconds", "PreparedModel", "PrunedModel", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSeconds:
    """Where the time went. analyse and rank: once per model, the same in each of its candidates."""

    analyse: float
    rank: float
    slice: float
    recover: float
    serialise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedModel:
    """content: the .onnx file."""

    content: bytes = field(repr=False)
    macs: int
    parameters: int
    seconds: PhaseSeconds

    @property
    def model(self) -> onnx.ModelProto:
        """Parsed anew at each access; its deterministic serialisation is `content`."""
        return onnx.ModelProto.FromString(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModel:
    """Deterministic with one BLAS thread: the same genome gives the same bits, in any process.

    importance: per group and cell, positions of its channels, most important first. dense: None without
    calibration.
    """

    analysis: Analysis
    importance: tuple[tuple[Labels, ...], ...]
    dense: DenseActivations | None
    rank_seconds: float

    def prune(self, genome: Genome, *, recovery: str = "ls") -> PrunedModel:
        """Cut to the genome's widths without the branches it drops, and repair what is left; the dense genome gives the
        base's weights, bit by bit. The widths of groups inside a dropped branch do not matter.

        recovery: "ls" (least squares), "moment" (means and deviations) or "none". Raises ConfigError for another
        name, for a branch that the model does not have or without the calibration it needs, EvaluationError where the
        candidate cannot be run.
        """
        if recovery not in RECOVERIES:
            raise ConfigError(f"unknown recovery '{recovery}'; known: {', '.join(RECOVERIES)}")
        if recovery != "none" and self.dense is None:
            raise ConfigError(f"recovery '{recovery}' needs calibration samples; give [data] calibration or use none")
        known = {branch.name for branch in self.analysis.branches}
        unknown = [name for name in genome.dropped if name not in known]
        if unknown:
            raise ConfigError(f"unknown branch '{unknown[0]}'; known: {', '.join(sorted(known)) or 'none'}")
        start = time.perf_counter()
        draft = slice_model(self.analysis, kept_classes(self.analysis, self.importance, genome), genome.dropped)
        sliced = time.perf_counter()
        if recovery != "none" and self.dense is not None:
            recover(draft, self.dense, recovery)
        recovered = time.perf_counter()
        content = draft.to_bytes()
        return PrunedModel(
            content=content,
            macs=draft.macs,
            parameters=draft.parameters,
            seconds=PhaseSeconds(
                analyse=self.analysis.seconds,
                rank=self.rank_seconds,
                slice=sliced - start,
                recover=recovered - sliced,
                serialise=time.perf_counter() - recovered,
            ),
        )


def prepare(
    analysis: Analysis,
    calibration: Mapping[str, NDArray[np.generic]] | None,
    *,
    criterion: str = "obs",
    images: int = 512,
) -> PreparedModel:
    """Rank every group's channels and take the dense model's targets on the first `images` calibration samples.

    calibration: per input, in the form and type the model takes, first axis samples; labels are never needed. None:
    only the criteria l1 and l2 and no recovery. Raises ConfigError for an unknown criterion or one that needs the
    missing calibration, DataError for calibration that does not fit the model.
    """
    if criterion not in CRITERIA:
        raise ConfigError(f"unknown criterion '{criterion}'; known: {', '.join(CRITERIA)}")
    start = time.perf_counter()
    dense = observe(analysis, _first(analysis, calibration, images)) if calibration is not None else None
    if dense is None and criterion in ("obs", "activation"):
        raise ConfigError(f"criterion '{criterion}' needs calibration samples; give [data] calibration or use l1 or l2")
    cells = [cell for of_group in analysis.group_cells for cell in of_group.classes]
    sensitivities = _sensitivities(analysis, dense, cells) if dense is not None and criterion == "obs" else {}
    importance = tuple(
        tuple(_order(analysis, dense, cell, criterion, sensitivities) for cell in of_group.classes)
        for of_group in analysis.group_cells
    )
    return PreparedModel(
        analysis=analysis, importance=importance, dense=dense, rank_seconds=time.perf_counter() - start
    )


def _first(
    analysis: Analysis, calibration: Mapping[str, NDArray[np.generic]], images: int
) -> dict[str, NDArray[np.generic]]:
    names = [value.name for value in analysis.inputs]
    missing = [name for name in names if name not in calibration]
    if missing:
        raise DataError(f"the calibration lacks the model's input '{missing[0]}'; it has {', '.join(calibration)}")
    first = {name: calibration[name][:images] for name in names}
    lengths = {len(values) for values in first.values()}
    if lengths == {0} or len(lengths) != 1:
        raise DataError(
            f"the calibration's inputs have {sorted(lengths)} samples; give every input the same, at least 1"
        )
    batch = max(fixed_batch(value.shape) or 1 for value in analysis.inputs)
    if max(lengths) < batch:
        raise DataError(f"{max(lengths)} calibration samples are used, the model takes {batch} at a time; give more")
    for name, values in first.items():
        if not np.isfinite(values).all():
            raise DataError(f"the calibration's input '{name}' holds NaN or infinity; clean the data")
    return first


def _sensitivities(analysis: Analysis, dense: DenseActivations, cells: Sequence[Labels]) -> dict[int, float]:
    """Of the layers that read a cell together with others; alone, a scale would not change the order."""
    together: set[int] = set()
    for cell in cells:
        readers = [
            number
            for number in dense.covariances
            if (inputs := analysis.graph.layers[number].inputs) is not None and np.isin(cell, inputs).all()
        ]
        if len(readers) > 1:
            together.update(readers)
    return measure_sensitivities(analysis, dense.inputs, sorted(together), dense.variances)


def _order(
    analysis: Analysis,
    dense: DenseActivations | None,
    classes: Labels,
    criterion: str,
    sensitivities: Mapping[int, float],
) -> Labels:
    consumers = dense.consumers(analysis, classes, sensitivities) if dense is not None else []
    if criterion == "obs" and consumers:
        return surgeon_order(consumers)
    if criterion == "activation" and consumers:
        return activation_order(consumers)
    producers = _producers(analysis, classes)
    if not producers:
        return np.arange(len(classes), dtype=np.int64)
    return magnitude_order(producers, norm=2 if criterion == "l2" else 1)


def _producers(analysis: Analysis, classes: Labels) -> list[NDArray[np.float64]]:
    """Per layer that makes all of these channels: the weights of each as a row, biases left out."""
    producers = []
    for layer in analysis.graph.layers:
        if not np.isin(classes, layer.outputs).all():
            continue
        weight = analysis.constants[layer.weight]
        if layer.kind in (LayerKind.GATES, LayerKind.MEMORY):
            weight = unit_rows(weight, len(layer.outputs))
        else:
            weight = np.moveaxis(weight, layer.output_axis, 0)
        if weight.shape[0] != len(layer.outputs):
            continue
        rows = np.abs(weight.reshape(len(weight), -1).astype(np.float64))
        producers.append(np.stack([rows[layer.outputs == index].mean(axis=0) for index in classes]))
    return producers
