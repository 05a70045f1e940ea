"""The operators of a model at their real sizes, as ONNX Runtime's own profile of one run lists them.

The agent has no onnx package, and what is not executed (folded, fused) should cost nothing: so the runtime is asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from edgepareto.agent.simulation.cost_model import Operator, OpKind
from edgepareto.agent.simulation.operator_sizes import (
    Shape,
    convolution,
    movement,
    product,
    recurrence,
    transposed_convolution,
)
from numpy.typing import NDArray

__all__ = ["list_operators", "named_operators"]

_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool", "ReduceMean")
_ACTIVATIONS = (
    *("Clip", "Elu", "FastGelu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "QuickGelu", "Relu"),
    *("Selu", "Sigmoid", "Softplus", "Tanh"),
)
_KINDS = {
    **dict.fromkeys(_POOLS, OpKind.POOL),
    **dict.fromkeys(_ACTIVATIONS, OpKind.ACTIVATION),
    "Concat": OpKind.CONCAT,
}
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
# A view of the same memory; and how an 8-bit model says what its kernels compute with.
_FREE = frozenset(
    {"DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze", "Unsqueeze"},
)


def list_operators(model: Path, feed: Mapping[str, NDArray[np.generic]]) -> tuple[Operator, ...]:
    """One run of the model on `feed`, in execution order. The model is one that the runtime has already run."""
    return tuple(operator for _, _, operator in named_operators(model, feed))


def named_operators(model: Path, feed: Mapping[str, NDArray[np.generic]]) -> tuple[tuple[str, str, Operator], ...]:
    """The same with the name of each node (its type and place where it has none) and its type."""
    with TemporaryDirectory() as folder:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        # Fuses activations and batch norms into convolutions as on a board, but keeps the plain layout of tensors, so
        # that the list does not depend on the machine which simulates.
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        settings.log_severity_level = 3
        # A packed weight is not listed among a node's inputs.
        settings.add_session_config_entry("session.disable_prepacking", "1")
        # An 8-bit model in the operators that it was before; the kernels that this machine has for it are its own.
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(os.fspath(model), settings, providers=["CPUExecutionProvider"])
        session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [
        (event["name"].removesuffix("_kernel_time") or f"{event['args']['op_name']}#{place}", event["args"])
        for place, event in enumerate(events)
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time")
    ]
    operators = (
        (
            name,
            node["op_name"],
            _operator(node["op_name"], _shapes(node["input_type_shape"]), _shapes(node["output_type_shape"])),
        )
        for name, node in nodes
        if node["op_name"] not in _FREE
    )
    return tuple(named for named in operators if named[2].outputs)


def _shapes(typed: Sequence[Mapping[str, Sequence[int]]]) -> list[Shape]:
    """[{"float": [1, 3, 8, 8]}, ...]; a scalar is []."""
    return [tuple(shape) for entry in typed for shape in entry.values()]


def _operator(name: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> Operator:
    output = outputs[0] if outputs else ()
    if name.endswith("ConvTranspose"):
        return transposed_convolution(inputs, output)
    if name.endswith("Conv"):
        return convolution(inputs, output)
    if name.endswith(("Gemm", "MatMul")):
        return product(inputs, output)
    if name in _RECURRENT:
        data, weights, recurrent_weights, *_ = inputs
        return recurrence(data, (weights, recurrent_weights), output)
    return movement(_KINDS.get(name, OpKind.ELEMENTWISE), inputs, output)
