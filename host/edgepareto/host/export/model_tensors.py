"""Every tensor that a model stores, wherever it stands, and the bytes it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx

__all__ = ["byte_count", "stored_tensors"]

PACKED_BITS = {  # several elements in a byte; older versions of onnx lack the last ones
    getattr(onnx.TensorProto, name): bits
    for name, bits in {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}.items()
    if hasattr(onnx.TensorProto, name)
}


def stored_tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Initializers and constants, each with the name that nodes read it by: those of the graph, of the graphs inside
    its nodes, and of the model's own functions."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def byte_count(tensor: onnx.TensorProto) -> int:
    """What its shape and type take as raw data; for texts a guess. KeyError for a type that ONNX does not have."""
    bits = PACKED_BITS.get(tensor.data_type) or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-math.prod(tensor.dims) * bits // 8)


def _of_graph(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, sparse.values
        yield sparse.values.name, sparse.indices
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[str, onnx.TensorProto]]:
    for node in nodes:
        for attribute in node.attribute:
            name = node.output[0] if node.output else node.name
            if attribute.HasField("t"):
                yield name, attribute.t
            for tensor in attribute.tensors:
                yield name, tensor
            if attribute.HasField("sparse_tensor"):
                yield name, attribute.sparse_tensor.values
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _of_graph(inner)
