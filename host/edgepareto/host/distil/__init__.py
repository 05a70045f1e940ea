"""Fine-tuning of finalists: the ONNX graph itself as a trainable torch graph, taught by the dense model on unlabelled
samples. Only `distillation` and what it imports bring torch."""

from edgepareto.host.distil.settings import DISTIL_STEPS, DistilSettings, require_torch

__all__ = ["DISTIL_STEPS", "DistilSettings", "require_torch"]
