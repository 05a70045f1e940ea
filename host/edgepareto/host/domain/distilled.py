"""What a distillation says: a candidate before it and after it, by the study's metric and beside the unpruned model."""

from __future__ import annotations

from dataclasses import dataclass

from edgepareto.host.domain.candidate import Candidate

__all__ = ["Distillation", "DistilledCandidate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """How it was trained, in minibatches of `batch`. label_weight: of the labels' cross-entropy, 0 without labels."""

    steps: int
    learning_rate: float
    temperature: float
    batch: int
    seed: int
    label_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilledCandidate:
    """before, after: with their accuracies, of the 32-bit .onnx file; the same where `helped` is False.

    before_loss, after_loss: distances from the unpruned model's outputs on `judged_by` validation samples, which decide
    which of the two is kept. taught: calibration samples that it was trained on. weights: how many were trained.
    """

    study: str
    model: str
    metric: str
    before: Candidate
    after: Candidate
    helped: bool
    before_loss: float
    after_loss: float
    taught: int
    judged_by: int
    weights: int
    seconds: float
    distillation: Distillation
