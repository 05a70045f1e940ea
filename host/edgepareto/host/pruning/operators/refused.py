"""Operators that are not followed, with what a user reads about them after "which"."""

from __future__ import annotations

from onnx import NodeProto

__all__ = ["PRUNE_BEFORE", "is_quantised", "made_axis", "refusal"]

PRUNE_BEFORE = "prune the model before it is quantised"
UNKNOWN = "is an operator that pruning does not know yet"
REFUSED = {
    "If": "decides at run time what is computed",
    "Loop": "repeats a part of the model",
    "Scan": "repeats a part of the model",
    "SequenceMap": "repeats a part of the model",
}
# Parts of the names of ONNX's operators and of ONNX Runtime's own ones.
QUANTISED_NAMES = ("quantize", "qlinear", "qgemm", "qattention", "qembed", "convinteger", "matmulinteger", "nbits")
# Which axis of their output a layer's own channels lie on. A MatMul may have no weight, so it is not here.
MADE_AXIS = dict.fromkeys(("Conv", "ConvInteger", "ConvTranspose", "DeformConv", "Gemm", "QLinearConv"), 1)


def refusal(node: NodeProto) -> str:
    """Of an operator without a rule."""
    if is_quantised(node):
        return f"is quantised: {PRUNE_BEFORE}"
    return REFUSED.get(node.op_type, UNKNOWN)


def is_quantised(node: NodeProto) -> bool:
    return any(part in node.op_type.lower() for part in QUANTISED_NAMES)


def made_axis(node: NodeProto) -> int | None:
    """Where the channels lie that a layer makes; None: it is no layer, or one that can also multiply activations."""
    return MADE_AXIS.get(node.op_type)
