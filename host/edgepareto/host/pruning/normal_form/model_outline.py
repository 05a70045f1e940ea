"""A model without its large weights: all that checking, inlining and shape inference look at, and quick to copy."""

from __future__ import annotations

import math

import onnx

__all__ = ["LARGEST_SIZES", "outline"]

LARGEST_SIZES = 64  # elements; a Reshape target or Slice has one per axis


def outline(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every larger and every sparse initializer is an input: type and shape stay, values go."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    inputs = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= LARGEST_SIZES:
            graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for sparse in model.graph.sparse_initializer:
        graph.input.append(onnx.helper.make_tensor_value_info(sparse.values.name, sparse.values.data_type, sparse.dims))
    return light
