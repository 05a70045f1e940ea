"""A channel shuffle as what it is: a permutation of channels, written as one Gather instead of three nodes.

Reshape to (groups, channels / groups), Transpose, Reshape back only works while every group keeps as many channels as
the others, which binds all blocks of a ShuffleNet together. A Gather with a list of positions works for any channels
that are left, and is as fast (docs/pruning.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
from edgepareto.host.pruning.normal_form.attributes import ints_attribute
from edgepareto.host.pruning.normal_form.graph_names import captured_names, node_copy
from edgepareto.host.pruning.normal_form.shape_inference import Shape
from onnx import numpy_helper

__all__ = ["rewrite_shuffles"]


def rewrite_shuffles(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> bool:
    """Replace, in place, every Reshape, Transpose, Reshape that only permutes the channels; whether there was one.

    shapes: of all tensors.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in (*node.input, *captured_names(node)))
    uses.update(value.name for value in graph.output)
    gone: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        chain = _chain(node, made_by, uses)
        order = _channel_order(chain, shapes) if chain is not None else None
        if chain is None or order is None:
            nodes.append(node)
            continue
        first, middle, last = chain
        gone.update((first.output[0], middle.output[0]))
        indices = f"{last.output[0]}/channels"
        graph.initializer.append(numpy_helper.from_array(order, indices))
        gather = onnx.helper.make_node(
            "Gather", [first.input[0], indices], [last.output[0]], name=f"{last.name}/shuffle", axis=1
        )
        nodes.append(gather)
    if not gone:
        return False
    kept = [node_copy(node) for node in nodes if gone.isdisjoint(node.output)]
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in (*node.input, *captured_names(node))}
    for position in reversed(range(len(graph.initializer))):
        name = graph.initializer[position].name
        if name not in read and name not in {value.name for value in graph.output}:
            del graph.initializer[position]
    return True


def _chain(
    node: onnx.NodeProto, made_by: Mapping[str, onnx.NodeProto], uses: Counter[str]
) -> tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto] | None:
    if node.op_type != "Reshape":
        return None
    middle = made_by.get(node.input[0])
    if middle is None or middle.op_type != "Transpose" or uses[middle.output[0]] != 1:
        return None
    first = made_by.get(middle.input[0])
    if first is None or first.op_type != "Reshape" or uses[first.output[0]] != 1:
        return None
    return first, middle, node


def _channel_order(
    chain: tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto], shapes: Mapping[str, Shape]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
    """(channels,) where each output channel comes from; None where more than channels move, or a size is not known."""
    first, middle, last = chain
    source, torn, result = (shapes.get(name, ()) for name in (first.input[0], first.output[0], last.output[0]))
    perm = ints_attribute(middle, "perm")
    if perm is None or len(source) < 2 or len(source) != len(result) or len(torn) != len(perm) or perm[0] != 0:
        return None
    inner, torn_inner, result_inner = _numbers(source[1:]), _numbers(torn[1:]), _numbers(result[1:])
    if inner is None or torn_inner is None or result_inner != inner or np.prod(inner) != np.prod(torn_inner):
        return None
    places = np.arange(int(np.prod(inner))).reshape(torn_inner).transpose([axis - 1 for axis in perm[1:]])
    columns = places.reshape(inner[0], -1)
    size = columns.shape[1]
    order = columns[:, 0] // size
    whole = order[:, None] * size + np.arange(size)
    if not np.array_equal(columns, whole) or np.array_equal(order, np.arange(len(order))):
        return None
    return np.asarray(order, dtype=np.int64)


def _numbers(shape: Shape) -> list[int] | None:
    """Sizes behind the batch; a symbolic or unknown one (height, width) cannot be followed here."""
    numbers = [size for size in shape if isinstance(size, int)]
    return numbers if len(numbers) == len(shape) else None
