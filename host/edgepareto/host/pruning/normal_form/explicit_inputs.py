"""What a node leaves to a default or computes at length, written out the way that can be cut."""

from __future__ import annotations

import numpy as np
import onnx
from edgepareto.host.pruning.normal_form.graph_names import DEFAULT_DOMAINS, captured_names, taken_names, unused_name
from edgepareto.host.pruning.normal_form.shape_inference import infer_shapes
from onnx import numpy_helper

__all__ = ["drop_zero_states", "give_split_sizes", "name_cast_types"]

SPLIT_SIZES_ARE_AN_INPUT = 13  # an attribute before
# Their output holds zeros only where their first input does.
ZEROS_STAY = {
    "Cast", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
}  # fmt: skip
STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}


def name_cast_types(model: onnx.ModelProto) -> None:
    """Turn, in place, CastLike into Cast: the type is the same for any width, so a constant cast so is a constant."""
    if not any(node.op_type == "CastLike" and node.domain in DEFAULT_DOMAINS for node in model.graph.node):
        return
    _, types = infer_shapes(model)
    for node in model.graph.node:
        if node.op_type == "CastLike" and node.domain in DEFAULT_DOMAINS and types.get(node.input[1], 0):
            cast = onnx.helper.make_node("Cast", node.input[:1], node.output, name=node.name, to=types[node.input[1]])
            node.CopyFrom(cast)


def drop_zero_states(graph: onnx.GraphProto) -> None:
    """Take, in place, initial states that are zero from recurrent nodes: zero is what they start with otherwise.

    Exporters build them from the batch and the number of hidden units, which pruning changes.
    """
    recurrent = [node for node in graph.node if node.op_type in STATES and node.domain in DEFAULT_DOMAINS]
    if not recurrent:
        return
    zeros = {tensor.name for tensor in graph.initializer if not numpy_helper.to_array(tensor).astype(bool).any()}
    for node in graph.node:
        if _makes_zeros(node, zeros):
            zeros.update(node.output)
    for node in recurrent:
        for position in STATES[node.op_type]:
            if position < len(node.input) and node.input[position] in zeros:
                node.input[position] = ""
        while node.input[-1] == "":
            del node.input[-1]


def give_split_sizes(model: onnx.ModelProto) -> None:
    """Write, in place, the sizes of every Split into equal parts: parts that lose different channels are not equal."""
    equal = [node for node in model.graph.node if _is_equal_split(node)]
    if not equal:
        return
    shapes, _ = infer_shapes(model)
    opset = next(entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS)
    taken = taken_names(model.graph)
    for node in equal:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        shape = shapes.get(node.input[0], ())
        size = shape[axis] if -len(shape) <= axis < len(shape) else None
        if not isinstance(size, int):
            continue
        part = -(-size // len(node.output))
        sizes = [part] * (len(node.output) - 1)  # the last one takes the rest, since opset 18
        sizes.append(size - sum(sizes))
        if min(sizes) <= 0:
            continue
        if opset < SPLIT_SIZES_ARE_AN_INPUT:
            node.attribute.append(onnx.helper.make_attribute("split", sizes))
            continue
        name = unused_name(f"{node.input[0]}/split", taken)
        taken.add(name)
        model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, dtype=np.int64), name))
        kept = [attribute for attribute in node.attribute if attribute.name != "num_outputs"]
        split = onnx.helper.make_node("Split", [node.input[0], name], node.output, name=node.name)
        split.attribute.extend(kept)
        node.CopyFrom(split)


def _is_equal_split(node: onnx.NodeProto) -> bool:
    return (
        node.op_type == "Split"
        and node.domain in DEFAULT_DOMAINS
        and (len(node.input) < 2 or node.input[1] == "")
        and all(attribute.name != "split" for attribute in node.attribute)
    )


def _makes_zeros(node: onnx.NodeProto, zeros: set[str]) -> bool:
    if node.domain not in DEFAULT_DOMAINS or captured_names(node):
        return False
    if node.op_type == "ConstantOfShape":
        return not any(numpy_helper.to_array(attribute.t).any() for attribute in node.attribute)
    if node.op_type == "Concat":
        return all(name in zeros for name in node.input)
    return node.op_type in ZEROS_STAY and node.input[0] in zeros
