"""The operators of a model at their real sizes, as ONNX Runtime's own profile of one run lists them.

The agent has no onnx package, and what is not executed (folded, fused) should cost nothing: so the runtime is asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import onnxruntime
from edgepareto.agent.simulation.cost_model import Operator, OpKind
from numpy.typing import NDArray

__all__ = ["list_operators", "named_operators"]

Shape: TypeAlias = tuple[int, ...]

_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool", "ReduceMean"})
# A view of the same memory.
_FREE = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


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
        return _transposed_convolution(inputs, output)
    if name.endswith("Conv"):
        return _convolution(inputs, output)
    if name.endswith(("Gemm", "MatMul")):
        return _product(inputs, output)
    return Operator(
        kind=OpKind.POOL if name in _POOLS else OpKind.ELEMENTWISE,
        outputs=prod(output),
        reduction=0,
        channels=_width(output),
        moved=sum(map(prod, inputs)) + prod(output),
    )


def _convolution(inputs: Sequence[Shape], output: Shape) -> Operator:
    """Weights are (outputs, inputs / groups, *kernel). Inputs behind them are a bias or a fused addition."""
    data, weights, *more = inputs
    channels_in, channels_out, kernel = data[1], weights[0], weights[2:]
    groups = channels_in // weights[1]
    keeps_size = all(after > before // 2 for before, after in zip(data[2:], output[2:], strict=True))
    if groups > 1:
        kind = OpKind.DEPTHWISE if weights[1] == 1 else OpKind.GROUPED
    elif prod(kernel) == 1:
        kind = OpKind.POINTWISE
    elif kernel == (3, 3) and keeps_size:
        kind = OpKind.CONV_3X3
    else:
        kind = OpKind.CONV
    return Operator(
        kind=kind,
        outputs=prod(output),
        reduction=weights[1] * prod(kernel),
        channels=channels_out,
        moved=prod(data) + prod(output) + sum(map(prod, more)),
        weights=prod(weights),
    )


def _transposed_convolution(inputs: Sequence[Shape], output: Shape) -> Operator:
    """Weights are (inputs, outputs / groups, *kernel): each input element meets all but the first axis of them."""
    data, weights, *more = inputs
    macs = prod(data) * prod(weights[1:])
    return Operator(
        kind=OpKind.CONV,
        outputs=prod(output),
        reduction=max(1, macs // prod(output)),
        channels=_width(output),
        moved=prod(data) + prod(output) + sum(map(prod, more)),
        weights=prod(weights),
    )


def _product(inputs: Sequence[Shape], output: Shape) -> Operator:
    """(..., rows, reduction) x (..., reduction, columns), either of the two transposed in a Gemm."""
    left, right, *more = inputs
    columns = output[-1]
    return Operator(
        kind=OpKind.FULLY_CONNECTED,
        outputs=prod(output),
        reduction=max(1, prod(right[-2:]) // columns),
        channels=columns,
        moved=prod(left) + prod(output) + sum(map(prod, more)),
        weights=prod(right),
    )


def _width(shape: Shape) -> int:
    return shape[1] if len(shape) > 1 else 1
