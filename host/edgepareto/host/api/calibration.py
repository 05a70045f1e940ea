"""The samples that int8 learns its ranges from, and what must be so before it can."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from edgepareto.host.accuracy import load_dataset
from edgepareto.host.config import Settings
from edgepareto.host.errors import ConfigError, ModelError
from edgepareto.host.export import input_tensors
from numpy.typing import NDArray

__all__ = ["calibration_feeds", "require_quantisable"]

QUANTISED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
OTHER_FLOATS: Mapping[int, str] = {
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
}


def calibration_feeds(
    model: onnx.ModelProto, chosen: Settings
) -> tuple[list[Mapping[str, NDArray[np.generic]]], tuple[str, ...]]:
    """The inputs of as many runs as count, and what may be wrong with them, in words.

    Raises ConfigError where there are none, DataError where they do not fit.
    """
    from edgepareto.host.export.quantize import CALIBRATION_SAMPLES, FEWEST_SAMPLES  # brings both runtimes

    if chosen.data.calibration is None:
        raise ConfigError(
            f"no calibration samples: int8 learns the ranges of activations from them; give --calibration, "
            f"{FEWEST_SAMPLES} to {CALIBRATION_SAMPLES} samples, labels are not needed"
        )
    dataset = load_dataset(
        chosen.data.calibration, chosen.data, input_tensors(model), folder=chosen.folder, labelled=False
    )
    return [*dataset.run_feeds(CALIBRATION_SAMPLES)], dataset.scale_doubts()


def require_quantisable(model: onnx.ModelProto, name: str, *, runtime: str, library: str, version: str) -> None:
    """Raises ModelError for what is no model of 32-bit floats, and for what int8 is known to go wrong with there."""
    from edgepareto.host.export.quantize import model_kind, refusal

    if QUANTISED & {node.op_type for node in model.graph.node}:
        raise ModelError(f"{name}: is quantised already; give the model it was made from")
    types = {value.type.tensor_type.elem_type for value in model.graph.input}
    types.update(tensor.data_type for tensor in model.graph.initializer)
    odd = [OTHER_FLOATS[kind] for kind in sorted(types) if kind in OTHER_FLOATS]
    if odd:
        raise ModelError(f"{name}: holds {' and '.join(odd)}, int8 is made from float32; export it with float32")
    reason = refusal(runtime=runtime, library=library, version=version, precision="int8", kind=model_kind(model))
    if reason is not None:
        raise ModelError(f"{name}: no int8 for {runtime}: {reason}")
