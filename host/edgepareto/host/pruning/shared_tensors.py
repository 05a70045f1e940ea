"""Initializers with several readers: a module applied twice stays one tensor, equal tensors stored once are cloned.

Exporters store equal tensors once (biases of zero, scales, sizes), and cutting one for one reader would corrupt the
others. A *weight* that two layers read is another matter: learned values do not agree by chance, so they are tied.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np
import onnx
from edgepareto.host.pruning.graph_names import DEFAULT_DOMAINS, captured_names, taken_names, unused_name
from onnx import TensorProto, numpy_helper

__all__ = ["clone_shared", "weight_reads"]

# Inputs that hold learned weights, by operator
WEIGHT_INPUTS: dict[str, tuple[int, ...]] = {
    "Conv": (1,), "ConvTranspose": (1,), "DeformConv": (1,), "Gemm": (1,), "MatMul": (0, 1), "Gather": (0,),
    "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2),
}  # fmt: skip
BIAS_INPUTS = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "LSTM": 3, "GRU": 3, "RNN": 3}
LEARNED_VALUES = 16  # a tensor with more distinct values, or only distinct ones, is not a constant fill
LOOKED_AT = 4096  # elements; enough to tell a constant fill from a weight


def weight_reads(graph: onnx.GraphProto) -> set[str]:
    """Tensors that some node reads as its weight."""
    return {name for node in graph.node for position, name in _constant_reads(node) if _is_weight(node, position)}


def clone_shared(graph: onnx.GraphProto) -> None:
    """Give, in place, every reader of an initializer a tensor of its own, except the readers of a tied weight.

    Tied: read as a weight by several nodes and learned; and the bias that the same nodes read beside it. So an
    initializer with several readers is tied, and what is cut of it for one reader has to be cut for the others.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    owners: dict[str, dict[Hashable, list[tuple[onnx.NodeProto, int]]]] = {}
    learned: dict[str, bool] = {}
    for number, node in enumerate(graph.node):
        for position, name in _constant_reads(node):
            if name in tensors:
                owner = _owner(node, position, tensors, learned) or (number, position)
                owners.setdefault(name, {}).setdefault(owner, []).append((node, position))
    captured = {value.name for value in graph.output}.union(*(captured_names(node) for node in graph.node))
    taken = taken_names(graph)
    for name, by_owner in owners.items():
        others = list(by_owner.values())
        for number, reads in enumerate(others if name in captured else others[1:], start=2):
            clone = TensorProto()
            clone.CopyFrom(tensors[name])
            clone.name = unused_name(f"{name}/{number}", taken)
            taken.add(clone.name)
            graph.initializer.append(clone)
            for node, position in reads:
                node.input[position] = clone.name


def _owner(
    node: onnx.NodeProto, position: int, tensors: dict[str, TensorProto], learned: dict[str, bool]
) -> Hashable | None:
    """What all readers of a tied tensor have in common; None: this read ties nothing."""
    weight = node.input[position]
    if BIAS_INPUTS.get(node.op_type) == position and node.domain in DEFAULT_DOMAINS:
        weight = node.input[1]
    elif not _is_weight(node, position) and node.op_type != "Transpose":  # folding leaves only those of a tied weight
        return None
    if weight not in tensors:
        return None
    if weight not in learned:
        learned[weight] = _is_learned(tensors[weight])
    return (weight, position == BIAS_INPUTS.get(node.op_type)) if learned[weight] else None


def _constant_reads(node: onnx.NodeProto) -> Iterator[tuple[int, str]]:
    return ((position, name) for position, name in enumerate(node.input) if name)


def _is_weight(node: onnx.NodeProto, position: int) -> bool:
    return node.domain in DEFAULT_DOMAINS and position in WEIGHT_INPUTS.get(node.op_type, ())


def _is_learned(tensor: TensorProto) -> bool:
    if len(tensor.dims) < 2 or onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).kind not in "fV":
        return False
    first = numpy_helper.to_array(tensor).reshape(-1)[:LOOKED_AT].astype(np.float32)
    return len(np.unique(first)) > min(LEARNED_VALUES, first.size - 1)
