"""If nodes whose condition is a constant: exporters write them for squeeze and views of tensors of known shape."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from edgepareto.host.pruning.normal_form.graph_names import DEFAULT_DOMAINS, subgraphs, taken_names, unused_name
from onnx import numpy_helper

__all__ = ["inline_constant_branches"]


def inline_constant_branches(graph: onnx.GraphProto) -> bool:
    """Put, in place, the branch that is always taken where the If stands. True where something changed."""
    conditions = {tensor.name: tensor for tensor in graph.initializer}
    if not any(_condition(node) in conditions for node in graph.node):
        return False
    taken = taken_names(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if _condition(node) not in conditions:
            nodes.append(_renamed(node, {}))
            continue
        chosen = "then_branch" if numpy_helper.to_array(conditions[node.input[0]]).all() else "else_branch"
        body = next(attribute.g for attribute in node.attribute if attribute.name == chosen)
        nodes.extend(_opened(node, body, graph, taken))
    del graph.node[:]
    graph.node.extend(nodes)
    return True


def _condition(node: onnx.NodeProto) -> str:
    return node.input[0] if node.op_type == "If" and node.domain in DEFAULT_DOMAINS else ""


def _opened(
    node: onnx.NodeProto, body: onnx.GraphProto, graph: onnx.GraphProto, taken: set[str]
) -> list[onnx.NodeProto]:
    """The body's nodes under names that are free outside; its outputs are copied to the If's."""
    sparse = [tensor.values.name for tensor in body.sparse_initializer]
    made = [name for inner in body.node for name in inner.output if name]
    names: dict[str, str] = {}
    for name in (*sparse, *(tensor.name for tensor in body.initializer), *made):
        names[name] = unused_name(f"{node.output[0]}/{name}", taken)
        taken.add(names[name])
    for tensor in body.initializer:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = names[tensor.name]
    for sparse_tensor in body.sparse_initializer:
        graph.sparse_initializer.add().CopyFrom(sparse_tensor)
        graph.sparse_initializer[-1].values.name = names[sparse_tensor.values.name]
    outputs = [
        onnx.helper.make_node("Identity", [names.get(value.name, value.name)], [name])
        for value, name in zip(body.output, node.output, strict=True)
        if name
    ]
    return [*(_renamed(inner, names) for inner in body.node), *outputs]


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    if names:
        _rename(copy, names)
    return copy


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    for listed in (node.input, node.output):
        for position, name in enumerate(listed):
            listed[position] = names.get(name, name)
    for body in subgraphs(node):  # a name in a body is never one of those outside it
        for inner in body.node:
            _rename(inner, names)
        for value in body.output:
            value.name = names.get(value.name, value.name)
