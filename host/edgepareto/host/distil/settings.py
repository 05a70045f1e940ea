"""How a pruned model is distilled; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from edgepareto.host.errors import WrongUse

__all__ = ["DISTIL_STEPS", "DistilSettings", "require_torch"]

DISTIL_STEPS = 200  # docs/distil.md: what more are worth


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilSettings:
    """steps: minibatches. learning_rate: Adam's, falling to 0 as a cosine. temperature: of the shares of classes.

    label_weight: of a cross-entropy with the calibration samples' labels; 0: none are looked at.
    """

    steps: int = DISTIL_STEPS
    learning_rate: float = 2e-3
    batch: int = 64
    temperature: float = 2.0
    label_weight: float = 0.0
    seed: int = 0


def require_torch() -> None:
    """Raises WrongUse where torch is not installed."""
    if find_spec("torch") is None:
        raise WrongUse("distillation trains with torch, which is not installed; pip install 'edgepareto[host,distil]'")
