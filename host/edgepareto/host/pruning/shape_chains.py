"""Sizes that an exporter computes at run time (Shape, Gather, Mul, Concat ...), written down as constants.

Exporters ask a tensor for its shape even where the shape is fixed. Read from a tensor that pruning cuts, such a size
would change, so whatever is fixed becomes an initializer, and what depends on an input's size is read from that input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import onnx
from edgepareto.host.pruning.graph_names import DEFAULT_DOMAINS, taken_names, unused_name
from edgepareto.host.pruning.shape_inference import Shape, dimension_size, infer_shapes
from edgepareto.host.pruning.symbolic_sizes import INTEGERS, Size, Sizes, follow_sizes, named_shapes, product_of
from onnx import numpy_helper

__all__ = ["Shape", "dimension_size", "infer_shapes", "resolve_shape_chains"]

MEASURES = ("Shape", "Size")


def resolve_shape_chains(model: onnx.ModelProto) -> None:
    """In place: computed sizes that are fixed become initializers; a Reshape target in which only the batch, or one
    other size, is free becomes a constant with 0 ("copy") or -1 ("the rest"); an input's size is asked of the input."""
    graph = model.graph
    if not any(node.op_type in MEASURES and node.domain in DEFAULT_DOMAINS for node in graph.node):
        return
    shapes, types = infer_shapes(model)
    named = named_shapes(graph, shapes)
    values = follow_sizes(graph, named, types)
    taken = taken_names(graph)
    for node in graph.node:
        if node.op_type == "Reshape" and node.domain in DEFAULT_DOMAINS:
            _fix_target(node, graph, values, named, taken)
    _replace_fixed(graph, values, types)
    _ask_inputs(graph, values, shapes, taken)


def _fix_target(
    node: onnx.NodeProto,
    graph: onnx.GraphProto,
    values: Mapping[str, Sizes],
    named: Mapping[str, tuple[Size, ...]],
    taken: set[str],
) -> None:
    value = values.get(node.input[1])
    if value is None or value.numbers is not None:
        return
    literal_zero = any(attribute.i for attribute in node.attribute if attribute.name == "allowzero")
    target = _target(value.entries, named.get(node.input[0]), named.get(node.output[0]), literal_zero)
    if target is None:
        return
    name = unused_name(f"{node.output[0]}/shape", taken)
    taken.add(name)
    graph.initializer.append(numpy_helper.from_array(np.array(target, dtype=np.int64), name))
    node.input[1] = name
    del node.attribute[:]  # allowzero: there is no literal zero


def _target(
    entries: Sequence[Size | None],
    data: tuple[Size, ...] | None,
    result: tuple[Size, ...] | None,
    literal_zero: bool,
) -> list[int] | None:
    """A size that the data has at the same place is 0 ("copy"); a single other one is -1 ("the rest").

    A -1 that the exporter wrote is worked out first, so that it leaves the place to another.
    """
    if literal_zero and any(entry is None or entry.factor == 0 for entry in entries):
        return None
    sizes: list[Size | None] = list(entries)
    for position, entry in enumerate(sizes):
        if entry is not None and entry.factor == 0 and data is not None and position < len(data):
            sizes[position] = data[position]
    rest = Size(Fraction(-1))
    if sizes.count(rest) == 1 and data is not None:
        left: Size | None = product_of(data)
        for size in sizes:
            if size != rest:
                left = left.over(size) if left is not None and size is not None else None
        if left is not None and left.factor > 0 and left.factor.denominator == 1:
            sizes[sizes.index(rest)] = left
    target: list[int] = []
    for position, size in enumerate(sizes):
        number = size.number if size is not None else None
        same = size is not None and data is not None and position < len(data) and data[position] == size
        if number is not None and number != 0:
            target.append(number)
        elif same or number == 0:
            target.append(0)
        elif result is not None and len(result) == len(sizes) and (n := result[position].number) is not None:
            target.append(n)
        else:
            target.append(-1)
    return target if target.count(-1) <= 1 else None


def _replace_fixed(graph: onnx.GraphProto, values: Mapping[str, Sizes], types: Mapping[str, int]) -> None:
    """Initializers in place of the integer tensors whose every entry is a known number."""
    outputs = {value.name for value in graph.output}
    rest: list[onnx.NodeProto] = []
    for node in graph.node:
        name = node.output[0] if len(node.output) == 1 else ""
        value = values.get(name)
        numbers = value.numbers if value is not None else None
        if value is None or numbers is None or name in outputs or types.get(name) not in INTEGERS:
            rest.append(_copy(node))
            continue
        array = np.array(numbers, dtype=onnx.helper.tensor_dtype_to_np_dtype(types[name]))
        graph.initializer.append(numpy_helper.from_array(array.reshape(()) if value.scalar else array, name))
    del graph.node[:]
    graph.node.extend(rest)


def _ask_inputs(
    graph: onnx.GraphProto, values: Mapping[str, Sizes], shapes: Mapping[str, Shape], taken: set[str]
) -> None:
    """Read a free size that is also an input's (its batch) from the input: pruning changes no input."""
    homes: dict[Size, tuple[str, int]] = {}
    inputs = [value.name for value in graph.input]
    for name in inputs:
        for axis, size in enumerate(shapes.get(name, ())):
            if isinstance(size, str):
                homes.setdefault(Size(Fraction(1), (size,)), (name, axis))
    measures = {node.output[0] for node in graph.node if node.op_type == "Shape" and node.input[0] not in inputs}
    added: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        picks = node.op_type in ("Gather", "Slice") and node.input[0] in measures
        picks = picks or (node.op_type == "Shape" and node.output[0] in measures)
        value = values.get(node.output[0]) if picks else None
        if value is None or len(value.entries) != 1 or value.entries[0] not in homes:
            continue
        source, axis = homes[value.entries[0]]
        if source not in added:
            shape = unused_name(f"{source}/shape", taken)
            taken.add(shape)
            added[source] = onnx.helper.make_node("Shape", [source], [shape])
        index = unused_name(f"{node.output[0]}/axis", taken)
        taken.add(index)
        array = np.array(axis if value.scalar else [axis], dtype=np.int64)
        graph.initializer.append(numpy_helper.from_array(array, index))
        gather = onnx.helper.make_node("Gather", [added[source].output[0], index], [node.output[0]], name=node.name)
        node.CopyFrom(gather)
    nodes = [*added.values(), *map(_copy, graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
