"""A pruned model trained for seconds towards the dense model's outputs on unlabelled samples, its graph unchanged.

Before training the torch graph must say what ONNX Runtime says of the model, and after it the written file must say
what the torch graph does. Of the model before and after, the one that is nearer to the dense model is kept, judged by
samples that neither was made from: a repair by least squares knows the calibration samples as well.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from edgepareto.host.distil.samples import Places, Samples, run_onnx
from edgepareto.host.distil.settings import DistilSettings
from edgepareto.host.distil.targets import Target, distance, surprise, targets_of
from edgepareto.host.distil.teacher import Teacher
from edgepareto.host.distil.torch_graph import TorchGraph
from edgepareto.host.distil.training import Teaching, deterministic, train
from edgepareto.host.distil.unsupported import Unsupported
from edgepareto.host.errors import EvaluationError

__all__ = ["Distilled", "distil"]

COMPARED = 16  # samples on which torch and ONNX Runtime must agree
LARGEST_ERROR = 1e-4  # relative to the largest output: of 32-bit floats rounding alone is left
SMALLEST_SCALE = 1e-6  # outputs below are noise, and compared with this
WHAT_TORCH_RAISES = (RuntimeError, IndexError, ValueError)  # of sizes that do not fit, of memory that is not there
MOST_VALUES = 1 << 28  # that a minibatch may make, 1 GiB: all of them wait for their gradients


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """model: the better one, the given one where `helped` is False. before, after: how far each is from the dense model
    on `judged_by` samples (`distance`). trained: how many weights were."""

    model: onnx.ModelProto
    helped: bool
    before: float
    after: float
    judged_by: int
    trained: int
    seconds: float


def distil(model: onnx.ModelProto, teacher: Teacher, settings: DistilSettings) -> Distilled:
    """Deterministic. model: pruned from the teacher's, in 32-bit floats.

    Raises EvaluationError where it is not distilled: an operator that is not known, outputs other than ONNX Runtime's,
    a training that diverges, nothing to train or to train towards.
    """
    with deterministic():
        try:
            return _distilled(model, teacher, settings)
        except Unsupported as error:
            raise EvaluationError(f"not distilled: training lacks the operator {error}") from error
        except WHAT_TORCH_RAISES as error:
            raise EvaluationError(f"not distilled: torch fails on the model: {str(error).splitlines()[0]}") from error


def _distilled(model: onnx.ModelProto, teacher: Teacher, settings: DistilSettings) -> Distilled:
    began = time.perf_counter()
    samples = Samples.of(model, teacher.inputs)
    targets = targets_of(model, teacher.outputs, has_classes=teacher.has_classes)
    if not targets:
        raise EvaluationError("not distilled: no output is floats that differ from sample to sample")
    ends = dict.fromkeys(name for target in targets for name in (target.output, target.end))
    graph = TorchGraph(model, tuple(ends))
    if not graph.parameters:
        raise EvaluationError("not distilled: no layer has weights of 32-bit floats")
    own = samples.batch or 1
    first = np.arange(min(len(samples), -(-COMPARED // own) * own))
    teaching = Teaching(samples=samples, targets=targets, labels=teacher.labels, at_once=True)
    teaching = _as_in_onnx_runtime(graph, model, teaching, first)
    taught, others = np.split(np.arange(len(samples)), [teacher.taught])
    train(graph, teaching, taught, settings, _affordable(graph, teaching, settings.batch))
    written = graph.written()
    error = _error(written, teaching, graph, first)
    if not error <= LARGEST_ERROR:
        raise EvaluationError(f"not distilled: the written file says other than was trained, {_relative(error)}")
    before, after = (_judged(each, teaching, others, settings) for each in (model, written))
    return Distilled(
        model=written if after < before else model,
        helped=after < before,
        before=before,
        after=after,
        judged_by=len(others),
        trained=sum(value.numel() for value in graph.parameters.values()),
        seconds=time.perf_counter() - began,
    )


def _as_in_onnx_runtime(graph: TorchGraph, model: onnx.ModelProto, teaching: Teaching, first: Places) -> Teaching:
    """The teaching, in the largest runs in which torch says what ONNX Runtime does. Raises EvaluationError."""
    is_fixed = teaching.samples.batch is not None
    for at_once in (True, False) if is_fixed and not teaching.samples.is_single else (not is_fixed,):
        tried = replace(teaching, at_once=at_once)
        try:
            error = _error(model, tried, graph, first)
        except WHAT_TORCH_RAISES:  # a batch that the graph's own sizes do not take
            if not at_once or not is_fixed:
                raise
            continue
        if error <= LARGEST_ERROR:
            return tried
    raise EvaluationError(f"not distilled: torch gives other outputs than ONNX Runtime, {_relative(error)}")


def _error(model: onnx.ModelProto, teaching: Teaching, graph: TorchGraph, places: Places) -> float:
    """Of the torch graph's outputs from ONNX Runtime's, the largest relative to the largest output."""
    expected = run_onnx(model, teaching.samples, places, _names(teaching.targets))
    with torch.no_grad():
        seen = {name: value.numpy() for name, value in teaching.run(graph, places).items()}
    worst = 0.0
    for name, wanted in expected.items():
        if seen[name].shape != wanted.shape:
            return float("inf")
        scale = max(float(np.abs(wanted).max(initial=0.0)), SMALLEST_SCALE)
        apart = float(np.abs(seen[name] - wanted).max(initial=0.0)) / scale
        worst = max(worst, apart if np.isfinite(apart) else float("inf"))
    return worst


def _judged(model: onnx.ModelProto, teaching: Teaching, places: Places, settings: DistilSettings) -> float:
    outputs = run_onnx(model, teaching.samples, places, _names(teaching.targets))
    found = distance(teaching.targets, outputs, places)
    if teaching.labels is None or not settings.label_weight:
        return found
    return found + settings.label_weight * surprise(teaching.targets, outputs, teaching.labels[places])


def _affordable(graph: TorchGraph, teaching: Teaching, batch: int) -> int:
    """Samples of a minibatch, fewer than wanted where memory is short. At least one."""
    own = teaching.samples.batch or 1
    with torch.no_grad():
        values = graph.count(teaching.feed(np.arange(own))) // own
    return max(1, min(batch, MOST_VALUES // max(1, values)))


def _names(targets: Sequence[Target]) -> list[str]:
    return [target.output for target in targets]


def _relative(error: float) -> str:
    return f"relative error {error:.2g} on {COMPARED} samples, allowed {LARGEST_ERROR:g}"
