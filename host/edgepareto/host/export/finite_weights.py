"""Weights that are numbers. One NaN makes every output NaN, and a ranking by it would be an arbitrary one."""

from __future__ import annotations

import numpy as np
import onnx
from edgepareto.host.errors import ModelError
from edgepareto.host.export.model_tensors import stored_tensors
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["require_finite_weights"]

FLOATS = {
    getattr(onnx.TensorProto, name)
    for name in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2",
                 "FLOAT8E5M2FNUZ")
}  # fmt: skip
# What these multiply with must be finite; minus infinity is right in an attention mask, infinity in a bound of Clip.
LAYERS = {
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN", "PRelu", "Gather", "BatchNormalization",
    "InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization",
}  # fmt: skip
MOVES = {"Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Slice", "Split"}


def require_finite_weights(model: onnx.ModelProto, name: str) -> None:
    """Raises ModelError with the first weight that holds NaN or infinity, and how many; `name` is the model's.

    A single NaN that no layer reads is a marker that a graph compares with, and allowed.
    """
    odd = [
        (weight, values)
        for weight, tensor in stored_tensors(model)
        if tensor.data_type in FLOATS and not np.isfinite(values := _values(name, weight, tensor)).all()
    ]
    if not odd:
        return
    weights = _read_by_layers(model)
    wrong = [
        (weight, values)
        for weight, values in odd
        if weight in weights or (values.size > 1 and bool(np.isnan(values).any()))
    ]
    if wrong:
        weight, values = wrong[0]
        others = f", and {len(wrong) - 1} more weights do" if len(wrong) > 1 else ""
        raise ModelError(
            f"{name}: weight {weight} holds {_count(values)} among {values.size} values{others}; "
            "train or export it again"
        )


def _values(name: str, weight: str, tensor: onnx.TensorProto) -> NDArray[np.generic]:
    try:
        return numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{name}: weight {weight} does not hold what its shape {tuple(tensor.dims)} needs; export it again"
        ) from error


def _read_by_layers(model: onnx.ModelProto) -> set[str]:
    """Names that a layer reads, as they are or only moved."""
    names: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type in LAYERS or (node.op_type in MOVES and names.intersection(node.output)):
            names.update(node.input)
    return names


def _count(values: NDArray[np.generic]) -> str:
    nans, infinities = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    return " and ".join(
        text for text, count in ((f"{nans} NaN", nans), (f"{infinities} infinite", infinities)) if count
    )
