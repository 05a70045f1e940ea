"""What pruned models are taught: the dense model's outputs on the calibration samples, taken once for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from edgepareto.host.distil.samples import Array, Samples, run_onnx
from edgepareto.host.errors import DataError
from numpy.typing import NDArray

__all__ = ["Labels", "Teacher"]

FEWEST_SAMPLES = 16
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """inputs, outputs: by name, first axis samples. labels: (samples,), None where there are none.

    has_classes: outputs of (samples, two or more) are classes, whose shares count and not their values.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    labels: Labels | None
    has_classes: bool

    @classmethod
    def of(
        cls, dense: onnx.ModelProto, inputs: Mapping[str, Array], labels: Labels | None = None, *, has_classes: bool
    ) -> Teacher:
        """inputs: as the model takes them. Raises DataError for too few, EvaluationError where it cannot be run."""
        samples = Samples.of(dense, inputs)
        if len(samples) < FEWEST_SAMPLES:
            raise DataError(f"{len(samples)} calibration samples are too few to distil on, at least {FEWEST_SAMPLES}")
        names = [value.name for value in dense.graph.output]
        found = run_onnx(dense, samples, np.arange(len(samples)), names)
        outputs = {name: values for name, values in found.items() if values.ndim and len(values) == len(samples)}
        return cls(inputs=samples.inputs, outputs=outputs, labels=labels, has_classes=has_classes)
