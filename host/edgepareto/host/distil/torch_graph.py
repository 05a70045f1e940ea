"""An ONNX model on torch tensors: the weights of its layers can be trained, and written back where they were.

No converter is used: those that there are bake attributes and layouts into modules of their own, from which no weight
finds its way back into the file, and they need other libraries or miss recurrent layers (docs/distil.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
import torch
from edgepareto.host.distil import operators
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.registry import OPERATORS
from edgepareto.host.distil.unsupported import Unsupported
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["TorchGraph"]

Arrays = Mapping[str, NDArray[np.generic]]
assert operators is not None, "imported to fill the registry"
DEFAULT_DOMAINS = ("", "ai.onnx")
TRAINED: Mapping[str, tuple[int, ...]] = {  # by operator: which inputs are weights of a layer where they are constant
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "Einsum": (0, 1),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "RMSNormalization": (1,),
    "PRelu": (1,),
    "Gather": (0,),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
    "Add": (0, 1),
    "Mul": (0, 1),
}
FEWEST_TRAINED = 2  # values: runtimes know an activation by its single constants, which must stay what they are


class TorchGraph:
    """parameters: the trained weights by initializer, leaves that record gradients; the rest is constant.

    ends: the tensors that `run` gives. Only what leads to them is computed.
    """

    def __init__(self, model: onnx.ModelProto, ends: Sequence[str]) -> None:
        """Raises Unsupported where an operator is not known."""
        self._model = model
        self.ends = tuple(ends)
        opset = next(one.version for one in model.opset_import if one.domain in DEFAULT_DOMAINS)
        self._nodes = [Node.of(proto, opset) for proto in _leading_to(model.graph, ends)]
        for node in self._nodes:
            if node.proto.domain not in DEFAULT_DOMAINS or node.op_type not in OPERATORS:
                raise Unsupported(".".join(filter(None, (node.proto.domain, node.op_type))))
        read = {name for node in self._nodes for name in node.proto.input} | set(ends)
        trained = set(self._trained_names())
        self._constants: dict[str, Tensor] = {}
        self.parameters: dict[str, Tensor] = {}
        for initializer in model.graph.initializer:
            if initializer.name not in read:
                continue
            value = _tensor(initializer)
            if initializer.name in trained and value.dtype == torch.float32 and value.numel() >= FEWEST_TRAINED:
                self.parameters[initializer.name] = value.requires_grad_()
            else:
                self._constants[initializer.name] = value
        self._last_reader = {name: place for place, node in enumerate(self._nodes) for name in node.proto.input}

    def run(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The ends by name. Raises Unsupported, and RuntimeError where the inputs' sizes do not fit."""
        values = dict(feeds)
        for _ in self._computed(values):
            pass
        return {name: values[name] for name in self.ends}

    def count(self, feeds: Mapping[str, Tensor]) -> int:
        """Of the values that a run makes. Raises as `run`."""
        return sum(part.numel() for made in self._computed(dict(feeds)) for part in made)

    def _computed(self, values: dict[str, Tensor]) -> Iterator[tuple[Tensor, ...]]:
        """Each node's outputs, as they enter `values`."""
        values.update(self._constants)
        values.update(self.parameters)
        for place, node in enumerate(self._nodes):
            inputs = [values[name] if name else None for name in node.proto.input]
            found = OPERATORS[node.op_type](node, inputs)
            made = found if isinstance(found, tuple) else (found,)
            values.update(zip(node.outputs, made, strict=False))
            yield made
            for name in node.proto.input:  # without gradients nothing else holds it
                if self._last_reader[name] == place and name not in self.ends:
                    values.pop(name, None)

    def written(self) -> onnx.ModelProto:
        """The model with the weights as they are now: the same graph, names, shapes and types."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for initializer in model.graph.initializer:
            if initializer.name in self.parameters:
                value = self.parameters[initializer.name].detach().numpy()
                initializer.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), initializer.name))
        return model

    def _trained_names(self) -> Iterable[str]:
        for node in self._nodes:
            for place in TRAINED.get(node.op_type, ()):
                if place < len(node.proto.input):
                    yield node.proto.input[place]


def _leading_to(graph: onnx.GraphProto, ends: Iterable[str]) -> list[onnx.NodeProto]:
    needed, found = set(ends), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            found.append(node)
    return found[::-1]


def _tensor(initializer: onnx.TensorProto) -> Tensor:
    """Raises Unsupported for a type that torch lacks."""
    try:
        return torch.from_numpy(numpy_helper.to_array(initializer).copy())
    except TypeError as error:
        raise Unsupported(f"initializer {initializer.name}: {str(error).splitlines()[0]}") from error
