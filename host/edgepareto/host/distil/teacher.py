"""What pruned models are taught: the dense model's outputs on the calibration samples, taken once for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    """inputs, outputs: by name, first axis samples: `taught` to train on, then those that a training is judged by.

    labels: of both, (samples,); None where there are none. has_classes: outputs of (samples, two or more) are classes,
    whose shares count and not their values.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    taught: int
    labels: Labels | None
    has_classes: bool

    @classmethod
    def of(
        cls,
        dense: onnx.ModelProto,
        inputs: Mapping[str, Array],
        judged_by: Mapping[str, Array],
        *,
        labels: tuple[Labels, Labels] | None = None,
        has_classes: bool,
    ) -> Teacher:
        """inputs: as the model takes them. judged_by: others, that no pruned model was made from. labels: of both.

        Raises DataError for too few samples, EvaluationError where the dense model cannot be run.
        """
        parts = [Samples.of(dense, given) for given in (inputs, judged_by)]
        for part, name in zip(parts, ("to distil on", "to judge a distillation by"), strict=True):
            if len(part) < FEWEST_SAMPLES:
                raise DataError(f"{len(part)} samples are too few {name}, at least {FEWEST_SAMPLES}")
        joined = {name: np.concatenate([part.inputs[name] for part in parts]) for name in inputs}
        samples = replace(parts[0], inputs=joined)
        names = [value.name for value in dense.graph.output]
        found = run_onnx(dense, samples, np.arange(len(samples)), names)
        return cls(
            inputs=joined,
            outputs={name: rows for name, rows in found.items() if rows.ndim and len(rows) == len(samples)},
            taught=len(parts[0]),
            labels=None
            if labels is None
            else np.concatenate([own[: len(part)] for own, part in zip(labels, parts, strict=True)]),
            has_classes=has_classes,
        )
