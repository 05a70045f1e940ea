"""What can be computed without an input becomes an initializer, computed once by ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
from edgepareto.host.pruning.inference import ORT_ERRORS, open_session
from edgepareto.host.pruning.normal_form.graph_names import DEFAULT_DOMAINS, captured_names, node_copy, subgraphs
from edgepareto.host.pruning.normal_form.shared_tensors import weight_reads
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

__all__ = ["fold_constants", "lift_constants"]

NOT_FOLDED = {
    # a random draw would be frozen
    "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial",
    # a quantisation that a runtime relies on would be undone
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
    # no initializer can hold what these make: strings and sparse tensors in a Constant, sequences
    "Constant", "SequenceEmpty", "SequenceConstruct", "SplitToSequence", "Optional",
}  # fmt: skip
# numpy has no type for the others (bfloat16, 8 and 4 bits), so ONNX Runtime cannot hand them out
NUMPY_TYPES = {
    "tensor(float)", "tensor(float16)", "tensor(double)", "tensor(bool)", "tensor(string)",
    "tensor(int8)", "tensor(int16)", "tensor(int32)", "tensor(int64)",
    "tensor(uint8)", "tensor(uint16)", "tensor(uint32)", "tensor(uint64)",
}  # fmt: skip


def lift_constants(graph: onnx.GraphProto) -> None:
    """Turn Constant nodes into initializers; those of strings or sparse tensors stay nodes."""
    rest: list[onnx.NodeProto] = []
    for node in graph.node:
        lifted = _constant(node) if node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS else None
        if lifted is None:
            rest.append(node_copy(node))
        else:
            lifted.name = node.output[0]
            graph.initializer.append(lifted)
    del graph.node[:]
    graph.node.extend(rest)


def fold_constants(model: onnx.ModelProto) -> None:
    """Compute, in place, every node that depends on constants only; two that are alike become one tensor.

    A node that the runtime cannot compute stays. So does a Transpose of a weight that another layer reads as it is
    (the head that shares an embedding): folded, it would be stored twice.
    """
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer}
    fixed = {value.name for value in graph.output}.union(*(captured_names(node) for node in graph.node))
    weights = weight_reads(graph)
    alike: dict[tuple[object, ...], onnx.NodeProto] = {}
    renamed: dict[str, str] = {}
    folded: list[onnx.NodeProto] = []
    rest: list[onnx.NodeProto] = []
    for original in graph.node:
        node = node_copy(original)
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
        if not _is_foldable(node, known, weights) or {value.name for value in graph.output} & set(node.output):
            rest.append(node)
            continue
        first = alike.setdefault(_key(node), node)
        if first is not node and fixed.isdisjoint(node.output):
            renamed.update(zip(node.output, first.output, strict=True))
            continue
        folded.append(node)
        known.update(node.output)
    if not folded:
        return
    read = {name for node in rest for name in (*node.input, *captured_names(node))}
    values, left = _computed(model, folded, read)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    del graph.node[:]
    graph.node.extend((*left, *rest))


def _constant(node: onnx.NodeProto) -> TensorProto | None:
    attribute = node.attribute[0]
    if attribute.name == "value":
        copy = TensorProto()
        copy.CopyFrom(attribute.t)
        return copy
    if attribute.name in ("value_float", "value_floats"):
        return numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(attribute), dtype=np.float32))
    if attribute.name in ("value_int", "value_ints"):
        return numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(attribute), dtype=np.int64))
    return None


def _is_foldable(node: onnx.NodeProto, known: set[str], weights: set[str]) -> bool:
    if node.op_type in NOT_FOLDED or node.domain not in DEFAULT_DOMAINS or any(subgraphs(node)):
        return False
    if node.op_type == "Transpose" and node.input[0] in weights:
        return False
    return all(name == "" or name in known for name in node.input)


def _key(node: onnx.NodeProto) -> tuple[object, ...]:
    attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    return node.op_type, tuple(node.input), tuple(attributes), len(node.output)


def _computed(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], read: set[str]
) -> tuple[dict[str, NDArray[np.generic]], list[onnx.NodeProto]]:
    """The values that `read` names, and the nodes that could not be computed. All at once where the runtime can."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    wanted = [name for node in nodes for name in node.output if name in read]
    at_once = _run(model, nodes, wanted, tensors)
    if at_once is not None:
        return dict(zip(wanted, at_once, strict=True)), []
    values: dict[str, NDArray[np.generic]] = {}
    left: list[onnx.NodeProto] = []
    for node in nodes:
        made = [name for name in node.output if name]
        result = _run(model, [node], made, tensors) if tensors.keys() >= {name for name in node.input if name} else None
        if result is None:
            left.append(node)
            continue
        values.update(zip(made, result, strict=True))
        tensors.update((name, numpy_helper.from_array(values[name], name)) for name in made)
    read = read | {name for node in left for name in node.input}
    return {name: value for name, value in values.items() if name in read}, left


def _run(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], wanted: list[str], tensors: dict[str, TensorProto]
) -> list[NDArray[np.generic]] | None:
    """None where the runtime cannot."""
    if not wanted:
        return []
    read = dict.fromkeys(name for node in nodes for name in node.input if name in tensors)
    outputs = [onnx.ValueInfoProto(name=name) for name in wanted]
    part = onnx.helper.make_graph(nodes, "constants", [], outputs, [tensors[name] for name in read])
    whole = onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=min(model.ir_version, 10))
    try:
        session = open_session(whole.SerializeToString())
        if any(output.type not in NUMPY_TYPES for output in session.get_outputs()):
            return None
        return [np.asarray(value) for value in session.run(wanted, {})]
    except ORT_ERRORS:
        return None
