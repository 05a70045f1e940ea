"""The oracle of branches that are left out: the same model in which what they put out is multiplied by zero."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx

__all__ = ["zeroed"]


def zeroed(model: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
    """Whoever reads one of these tensors, 32-bit activations, reads zeros instead; one that is not there is skipped."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    copy.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((), dtype=np.float32), "nothing"))
    for node in nodes:
        for position, name in enumerate(node.input):
            node.input[position] = f"{name}/zero" if name in tensors else name
    del copy.graph.node[:]
    for node in nodes:
        copy.graph.node.append(node)
        for name in node.output:
            if name in tensors:
                copy.graph.node.append(onnx.helper.make_node("Mul", [name, "nothing"], [f"{name}/zero"]))
    return copy
