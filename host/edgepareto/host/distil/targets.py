"""What the pruned model is taught to say: the dense model's outputs, as shares of classes or as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from edgepareto.host.distil.samples import Array
from numpy.typing import NDArray

__all__ = ["Target", "distance", "surprise", "targets_of"]

Floats = NDArray[np.float32]
SOFTMAXES = ("Softmax", "LogSoftmax")
SMALLEST_SHARE = 1e-12
ROUNDING = 1e-2  # by which shares may miss 1 in sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One output. end: the tensor that is trained, before a last Softmax.

    values: of the dense model, (samples, ...); of classes logits, whatever the output is. are_shares: the output holds
    shares of classes, whose logarithms are logits. scale: mean square of the values about their mean.
    """

    output: str
    end: str
    values: Floats
    is_classes: bool
    are_shares: bool
    scale: float


def targets_of(model: onnx.ModelProto, dense: Mapping[str, Array], *, has_classes: bool) -> list[Target]:
    """Of the outputs that are floats with a row per sample and differ between samples.

    dense: the unpruned model's outputs by name. has_classes: outputs of (samples, two or more) are classes.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    return [
        _target(name, makers.get(name), values.astype(np.float32), has_classes)
        for name, values in dense.items()
        if values.dtype.kind == "f" and values.ndim and np.isfinite(values).all() and np.ptp(values, axis=0).any()
    ]


def _target(name: str, maker: onnx.NodeProto | None, values: Floats, has_classes: bool) -> Target:
    is_classes = has_classes and values.ndim == 2 and values.shape[1] > 1
    is_softmax = is_classes and maker is not None and maker.op_type in SOFTMAXES
    are_shares = is_classes and bool((values >= 0).all() and (np.abs(values.sum(-1) - 1) < ROUNDING).all())
    return Target(
        output=name,
        end=maker.input[0] if is_softmax and maker is not None else name,
        values=np.log(np.maximum(values, SMALLEST_SHARE)) if are_shares else values,
        is_classes=is_classes,
        are_shares=are_shares,
        scale=float(np.mean((values - values.mean(axis=0)) ** 2)),
    )


def distance(targets: Sequence[Target], outputs: Mapping[str, Array], places: NDArray[np.int64]) -> float:
    """Of a model's outputs on these samples from the dense model's, summed over the targets, 0 or more: of classes the
    mean KL divergence in nats, else the squared error relative to the dense outputs' variance."""
    total = 0.0
    for target in targets:
        wanted = target.values[places].astype(np.float64)
        if target.is_classes:
            dense, mine = _log_shares(wanted), _log_shares(_logits(target, outputs))
            total += float(np.mean(np.sum(np.exp(dense) * (dense - mine), axis=1)))
        else:
            total += float(np.mean((outputs[target.output].astype(np.float64) - wanted) ** 2)) / target.scale
    return total


def surprise(targets: Sequence[Target], outputs: Mapping[str, Array], labels: NDArray[np.int64]) -> float:
    """The cross-entropy with the labels, in nats, summed over the outputs that are classes."""
    rows = np.arange(len(labels))
    found = [_log_shares(_logits(target, outputs))[rows, labels] for target in targets if target.is_classes]
    return -float(sum(np.mean(shares) for shares in found))


def _logits(target: Target, outputs: Mapping[str, Array]) -> NDArray[np.float64]:
    values = outputs[target.output].astype(np.float64)
    return np.asarray(np.log(np.maximum(values, SMALLEST_SHARE))) if target.are_shares else values


def _log_shares(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
