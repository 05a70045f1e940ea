"""Initializers with several readers: a module applied twice stays one tensor, equal tensors stored once are cloned.

Exporters store equal tensors once (biases of zero, scales, sizes), and cutting one for one reader would corrupt the
others. A *weight* that two layers read is another matter: learned values do not agree by chance, so they are tied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Set

import numpy as np
import onnx
from edgepareto.host.pruning.normal_form.graph_names import DEFAULT_DOMAINS, captured_names, taken_names, unused_name
from onnx import TensorProto, numpy_helper

__all__ = ["clone_shared", "weight_reads"]

# Inputs that hold learned weights, by operator
WEIGHT_INPUTS: dict[str, tuple[int, ...]] = {
    "Conv": (1,), "ConvTranspose": (1,), "DeformConv": (1,), "Gemm": (1,), "MatMul": (0, 1), "Gather": (0,),
    "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2),
}  # fmt: skip
LEARNED_VALUES = 16  # a tensor with more distinct values, or only distinct ones, is not a constant fill
LOOKED_AT = 4096  # elements; enough to tell a constant fill from a weight


def weight_reads(graph: onnx.GraphProto) -> set[str]:
    """Tensors that some node reads as its weight."""
    return {name for node in graph.node for position, name in _constant_reads(node) if _is_weight(node, position)}


def clone_shared(graph: onnx.GraphProto) -> None:
    """Give, in place, every reader of an initializer a tensor of its own, except the readers of a tied weight.

    Tied: read as a weight by several nodes and learned; and floating-point tensors that the nodes behind read alike
    (biases, scales of a normalisation), as the same module applied twice does. So an initializer with several readers
    is tied, and what is cut of it for one reader has to be cut for the others.
    """
    uses = Counter(name for node in graph.node for _, name in _constant_reads(node))
    captured = {value.name for value in graph.output}.union(*(captured_names(node) for node in graph.node))
    tensors = {t.name: t for t in graph.initializer if uses[t.name] > 1 or t.name in captured}
    if not tensors:
        return
    owners: dict[str, dict[Hashable, list[tuple[onnx.NodeProto, int]]]] = {}
    unshared = {tensor.name for tensor in graph.initializer if tensor.name not in tensors and _is_floating(tensor)}
    modules = _Modules(tensors, unshared)
    for number, node in enumerate(graph.node):
        for position, name in _constant_reads(node):
            if name in tensors:
                owner = modules.owner(node, position) or (number, position)
                owners.setdefault(name, {}).setdefault(owner, []).append((node, position))
        modules.pass_on(node)
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


class _Modules:
    """Follows which tensors are made by the same module: the readers of a tied weight, and what repeats behind them."""

    def __init__(self, tensors: Mapping[str, TensorProto], unshared: Set[str]) -> None:
        self._unshared = unshared
        self._learned = {name for name, tensor in tensors.items() if _is_learned(tensor)}
        self._floating = {name for name, tensor in tensors.items() if _is_floating(tensor)}
        self._made: dict[str, int] = {}
        self._numbers: dict[Hashable, int] = {}

    def owner(self, node: onnx.NodeProto, position: int) -> Hashable | None:
        """What all readers of a tied tensor have in common; None: this read ties nothing."""
        name = node.input[position]
        # Folding leaves only those Transposes that read a tied weight.
        if name in self._learned and (_is_weight(node, position) or node.op_type == "Transpose"):
            return "weight"
        module = self._module(node)
        return (module, position) if module is not None and name in self._floating else None

    def pass_on(self, node: onnx.NodeProto) -> None:
        module = self._module(node)
        if module is not None:
            number = self._numbers.setdefault(module, len(self._numbers))
            self._made.update(dict.fromkeys(node.output, number))

    def _module(self, node: onnx.NodeProto) -> tuple[Hashable, ...] | None:
        """The same for nodes that read the same learned weight, or do the same with what such nodes made.

        None: another node, as one that reads a floating-point tensor of its own.
        """
        if not self._unshared.isdisjoint(node.input):
            return None
        weights = [n for position, n in _constant_reads(node) if n in self._learned and _is_weight(node, position)]
        if weights:
            return (node.op_type, *weights)
        data = [self._made.get(name) for name in node.input if name in self._made]
        return (node.op_type, *data) if data else None


def _constant_reads(node: onnx.NodeProto) -> Iterator[tuple[int, str]]:
    return ((position, name) for position, name in enumerate(node.input) if name)


def _is_weight(node: onnx.NodeProto, position: int) -> bool:
    return node.domain in DEFAULT_DOMAINS and position in WEIGHT_INPUTS.get(node.op_type, ())


def _is_floating(tensor: TensorProto) -> bool:
    return onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).kind in "fV"


def _is_learned(tensor: TensorProto) -> bool:
    if len(tensor.dims) < 2 or not _is_floating(tensor):
        return False
    first = numpy_helper.to_array(tensor).reshape(-1)[:LOOKED_AT].astype(np.float32)
    return len(np.unique(first)) > min(LEARNED_VALUES, first.size - 1)
