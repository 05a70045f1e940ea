"""The calibration samples in runs as a model takes them, and what ONNX Runtime gives for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from edgepareto.host.errors import EvaluationError
from edgepareto.host.pruning.inference import ORT_ERRORS, open_session
from numpy.typing import NDArray

__all__ = ["Array", "Places", "Samples", "run_onnx"]

Array = NDArray[np.generic]
Places = NDArray[np.int64]  # which samples
ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """inputs: per input, first axis samples. batch: how many go into one run; None: any number.

    is_single: a sample is a whole input, which has no batch axis.
    """

    inputs: Mapping[str, Array]
    batch: int | None
    is_single: bool

    @classmethod
    def of(cls, model: onnx.ModelProto, inputs: Mapping[str, Array]) -> Samples:
        """inputs: as the model takes them. Samples that fill no whole batch are left out."""
        axes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input if value.name in inputs}
        is_single = any(array.ndim - 1 == len(axes[name]) for name, array in inputs.items())
        fixed = [dims[0].dim_value for dims in axes.values() if dims and dims[0].HasField("dim_value")]
        batch = 1 if is_single else fixed[0] if fixed else None
        kept = min(len(array) for array in inputs.values())
        kept -= kept % (batch or 1)
        return cls(inputs={name: array[:kept] for name, array in inputs.items()}, batch=batch, is_single=is_single)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def feed(self, places: Places) -> dict[str, Array]:
        """Of one run."""
        taken = places[0] if self.is_single else places
        return {name: np.ascontiguousarray(array[taken]) for name, array in self.inputs.items()}

    def runs(self, places: Places, most: int = ROWS_AT_ONCE) -> list[Places]:
        """The samples of one run after another; `most` where the model takes any number."""
        size = self.batch or most
        return [places[start : start + size] for start in range(0, len(places), size)]


def run_onnx(model: onnx.ModelProto, samples: Samples, places: Places, names: Sequence[str]) -> dict[str, Array]:
    """These outputs of ONNX Runtime, one thread, one row per sample. Raises EvaluationError."""
    try:
        session = open_session(model.SerializeToString())
        runs = [session.run(list(names), samples.feed(part)) for part in samples.runs(places)]
    except ORT_ERRORS as error:
        raise EvaluationError(f"ONNX Runtime failed on the model: {str(error).splitlines()[0]}") from error
    join = np.stack if samples.is_single else np.concatenate
    return {name: join([run[place] for run in runs]) for place, name in enumerate(names)}
