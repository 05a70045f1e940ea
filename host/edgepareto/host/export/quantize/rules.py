"""Which kind of int8 a model takes, and where a precision is known to go wrong or to gain nothing. It runs nothing."""

from __future__ import annotations

from collections import defaultdict
from enum import Enum

import onnx

__all__ = ["Method", "ModelKind", "int8_method", "model_kind", "refusal"]

ONLY_FLOAT = {"GRU", "RNN", "Loop", "Scan"}  # no runtime has them in 8 bits
NORMALISING = {"LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "Attention"}
PASSING = {
    "Transpose",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Cast",
    "Identity",
    "Dropout",
}  # between a Softmax and its MatMul
CPU_RUNTIMES = ("onnxruntime", "litert")
LEGACY_LIBRARY = "tflite-runtime"


class Method(str, Enum):
    """STATIC: weights and activations are 8 bits, ranges are learnt from samples. DYNAMIC: weights alone are, and the
    runtime finds the range of each activation as it runs."""

    STATIC = "static"
    DYNAMIC = "dynamic"


class ModelKind(str, Enum):
    """What decides how a model takes int8. PLAIN: convolutions and dense layers. ATTENTION: LayerNorm or attention,
    whose activations have a few values far larger than all others. RECURRENT: GRU, RNN, loops."""

    PLAIN = "plain"
    ATTENTION = "attention"
    LSTM = "lstm"
    RECURRENT = "recurrent"

    @property
    def method(self) -> Method:
        return Method.STATIC if self is ModelKind.PLAIN else Method.DYNAMIC


def int8_method(model: onnx.ModelProto) -> Method:
    return model_kind(model).method


def model_kind(model: onnx.ModelProto) -> ModelKind:
    """By its operators, as any exporter writes them."""
    types = {node.op_type for node in model.graph.node}
    types.update(node.op_type for function in model.functions for node in function.node)
    if types & ONLY_FLOAT:
        return ModelKind.RECURRENT
    if "LSTM" in types:
        return ModelKind.LSTM
    attends = types & NORMALISING or _subtracts_its_mean(model.graph) or _weighs_by_softmax(model.graph)
    return ModelKind.ATTENTION if attends else ModelKind.PLAIN


def refusal(*, runtime: str, library: str, version: str, precision: str, kind: ModelKind) -> str | None:
    """Why a model of this kind is not run so there, in a line; None: nothing is known against it.

    runtime: a name of domain.deployment. library, version: the distribution that is the runtime on the device.
    """
    if precision == "int8":
        return _int8_refusal(runtime, library, version, kind)
    if precision == "fp16" and runtime == "onnxruntime":
        return "ONNX Runtime computes 16-bit floats on a CPU as 32-bit ones, with a cast before and after"
    return None


def _int8_refusal(runtime: str, library: str, version: str, kind: ModelKind) -> str | None:
    if runtime not in CPU_RUNTIMES:
        return f"int8 files are made for CPUs; {runtime} wants other ranges, symmetric ones, or has no integer kernels"
    if kind is ModelKind.RECURRENT:
        return "no runtime has GRU, RNN or loops in int8"
    if runtime == "litert" and kind is ModelKind.LSTM:
        return "litert-quantizer leaves an LSTM as it is"
    if library == LEGACY_LIBRARY and kind.method is Method.DYNAMIC:
        return (
            f"LayerNorm and attention lose too much in static int8, and {LEGACY_LIBRARY} {version} computes dynamic "
            "int8 wrongly without any error; ai-edge-litert does it"
        )
    return None


def _subtracts_its_mean(graph: onnx.GraphProto) -> bool:
    """A LayerNorm in single operators begins with x - ReduceMean(x)."""
    means = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ReduceMean"}
    return any(
        node.op_type == "Sub" and len(node.input) == 2 and means.get(node.input[1]) == node.input[0]
        for node in graph.node
    )


def _weighs_by_softmax(graph: onnx.GraphProto) -> bool:
    readers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    waiting = [node.output[0] for node in graph.node if node.op_type == "Softmax"]
    while waiting:
        for node in readers[waiting.pop()]:
            if node.op_type in ("MatMul", "Einsum"):
                return True
            if node.op_type in PASSING:
                waiting.append(node.output[0])
    return False
