"""Which kind of int8 a model can take, and where int8 is known to go wrong. Nothing is run here."""

from __future__ import annotations

from enum import Enum

import onnx

__all__ = ["Method", "int8_method", "refusal"]

RECURRENT = {"LSTM", "GRU", "RNN"}
LEGACY = "tflite-runtime"


class Method(str, Enum):
    """STATIC: weights and activations are 8 bits, ranges are learnt from samples. DYNAMIC: weights alone are, and the
    runtime finds the range of each activation as it runs."""

    STATIC = "static"
    DYNAMIC = "dynamic"


def int8_method(model: onnx.ModelProto) -> Method:
    """DYNAMIC where a static range loses what the model says: recurrent layers, LayerNorm, attention."""
    return Method.DYNAMIC if RECURRENT.intersection(node.op_type for node in model.graph.node) else Method.STATIC


def refusal(*, runtime: str, library: str, version: str, precision: str, method: Method) -> str | None:
    """Why a model of this method must not run so there; None: nothing is known against it.

    runtime: onnxruntime or litert. library: the distribution that has it on the board, of this version.
    """
    if precision == "int8" and method is Method.DYNAMIC and library == LEGACY:
        return f"{LEGACY} {version} gives wrong outputs for int8 weights with float activations, without any error"
    return None
