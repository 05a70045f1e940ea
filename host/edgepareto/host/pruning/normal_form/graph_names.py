"""Names in a graph: what a node's bodies read from outside, and names that are still free."""

from __future__ import annotations

from collections.abc import Container, Iterator

import onnx

__all__ = ["DEFAULT_DOMAINS", "captured_names", "node_copy", "reads", "subgraphs", "taken_names", "unused_name"]

DEFAULT_DOMAINS = ("", "ai.onnx")


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def captured_names(node: onnx.NodeProto) -> set[str]:
    """Tensors of the outer graph that a node's bodies (If, Loop, Scan) read without naming them as inputs."""
    names: set[str] = set()
    for graph in subgraphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        own |= {tensor.values.name for tensor in graph.sparse_initializer}
        read = {value.name for value in graph.output}
        for inner in graph.node:
            read.update(inner.input)
            read.update(captured_names(inner))
            own.update(inner.output)
        names |= read - own - {""}
    return names


def reads(node: onnx.NodeProto) -> set[str]:
    """All that must exist before the node runs."""
    return {name for name in node.input if name} | captured_names(node)


def node_copy(node: onnx.NodeProto) -> onnx.NodeProto:
    """Owned by nobody: a node inside a graph is gone once the graph's list of nodes is replaced."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def taken_names(graph: onnx.GraphProto) -> set[str]:
    """Every tensor's name, in the graph and in its bodies: a new one must be none of these."""
    taken = {value.name for value in (*graph.input, *graph.output)} | {tensor.name for tensor in graph.initializer}
    taken |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        taken.update(node.input)
        taken.update(node.output)
        for body in subgraphs(node):
            taken |= taken_names(body)
    return taken


def unused_name(name: str, taken: Container[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}#{number}"
    return candidate
