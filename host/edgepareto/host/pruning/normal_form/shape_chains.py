"""Sizes that an exporter computes at run time (Shape, Gather, Mul, Concat ...), written down as constants.

Exporters ask a tensor for its shape even where the shape is fixed. Read from a tensor that pruning cuts, such a size
would change, so whatever is fixed becomes an initializer, and what depends on an input's size is read from that input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import onnx
from edgepareto.host.pruning.normal_form.graph_names import DEFAULT_DOMAINS, node_copy, taken_names, unused_name
from edgepareto.host.pruning.normal_form.shape_inference import Shape, infer_shapes
from edgepareto.host.pruning.normal_form.shape_rules import resolved_target
from edgepareto.host.pruning.normal_form.symbolic_shapes import follow_shapes
from edgepareto.host.pruning.normal_form.symbolic_sizes import INTEGERS, Size, Sizes
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["resolve_shape_chains"]

MEASURES = ("Shape", "Size")


def resolve_shape_chains(model: onnx.ModelProto) -> bool:
    """Write computed sizes down, in place. True where a constant was found, behind which more may be known.

    What is fixed becomes an initializer; a Reshape target in which only the batch, or one other size, is free becomes a
    constant with 0 ("copy") or -1 ("the rest"); sizes of a Resize become scales; an input's size is asked of the input.
    """
    graph = model.graph
    if not any(node.op_type in MEASURES and node.domain in DEFAULT_DOMAINS for node in graph.node):
        return False
    shapes, types = infer_shapes(model)
    named, values = follow_shapes(graph, shapes, types)
    taken = taken_names(graph)
    before = len(graph.initializer)
    for node in graph.node:
        if node.op_type == "Reshape" and node.domain in DEFAULT_DOMAINS:
            _fix_target(node, graph, values, named, taken)
        elif node.op_type == "Resize" and node.domain in DEFAULT_DOMAINS:
            _fix_scales(node, graph, values, named, taken)
    _replace_fixed(graph, values, types)
    found = len(graph.initializer) > before
    _ask_inputs(graph, values, shapes, types, taken)
    return found


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
    node.input[1] = _add_constant(graph, np.array(target, dtype=np.int64), f"{node.output[0]}/shape", taken)
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
    sizes = resolved_target(entries, data)
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


def _fix_scales(
    node: onnx.NodeProto,
    graph: onnx.GraphProto,
    values: Mapping[str, Sizes],
    named: Mapping[str, tuple[Size, ...]],
    taken: set[str],
) -> None:
    """Where each size is a multiple of the one before, and is so in single precision, the scales say the same."""
    value = values.get(node.input[3]) if len(node.input) > 3 else None
    data = named.get(node.input[0])
    attributes = {attribute.name: attribute.s for attribute in node.attribute}
    is_plain = "axes" not in attributes and attributes.pop("keep_aspect_ratio_policy", b"stretch") == b"stretch"
    if value is None or value.numbers is not None or data is None or len(data) != len(value.entries) or not is_plain:
        return
    scales: list[np.float32] = []
    for before, after in zip(data, value.entries, strict=True):
        ratio = after.over(before) if after is not None else None
        if ratio is None or ratio.symbols or after is None:
            return
        scale = np.float32(float(ratio.factor))
        size = before.number
        exact = np.floor(np.float32(size) * scale) == after.number if size is not None else scale == int(scale)
        if not exact:
            return
        scales.append(scale)
    name = _add_constant(graph, np.array(scales, dtype=np.float32), f"{node.output[0]}/scales", taken)
    del node.input[2:]
    node.input.append(name)
    kept = [attribute for attribute in node.attribute if attribute.name != "keep_aspect_ratio_policy"]
    del node.attribute[:]
    node.attribute.extend(kept)


def _add_constant(graph: onnx.GraphProto, value: NDArray[np.generic], name: str, taken: set[str]) -> str:
    name = unused_name(name, taken)
    taken.add(name)
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _replace_fixed(graph: onnx.GraphProto, values: Mapping[str, Sizes], types: Mapping[str, int]) -> None:
    """Initializers in place of the integer tensors whose every entry is a known number."""
    outputs = {value.name for value in graph.output}
    rest: list[onnx.NodeProto] = []
    for node in graph.node:
        name = node.output[0] if len(node.output) == 1 else ""
        value = values.get(name)
        numbers = value.numbers if value is not None else None
        if value is None or numbers is None or name in outputs or types.get(name) not in INTEGERS:
            rest.append(node_copy(node))
            continue
        array = np.array(numbers, dtype=onnx.helper.tensor_dtype_to_np_dtype(types[name]))
        graph.initializer.append(numpy_helper.from_array(array.reshape(()) if value.scalar else array, name))
    del graph.node[:]
    graph.node.extend(rest)


def _ask_inputs(
    graph: onnx.GraphProto,
    values: Mapping[str, Sizes],
    shapes: Mapping[str, Shape],
    types: Mapping[str, int],
    taken: set[str],
) -> None:
    """Read a free size that is also an input's (its batch) from the input: pruning changes no input."""
    homes: dict[Size, tuple[str, int]] = {}
    inputs = [value.name for value in graph.input]
    for name in inputs:
        for axis, size in enumerate(shapes.get(name, ())):
            if isinstance(size, str):
                homes.setdefault(Size(Fraction(1), (size,)), (name, axis))
    of_inner: set[str] = set()  # computed from the shape of a tensor that pruning may cut
    added: dict[str, onnx.NodeProto] = {}
    gathers: list[onnx.NodeProto] = []
    for node in graph.node:
        measures = node.op_type in MEASURES and node.input[0] not in inputs
        if not measures and of_inner.isdisjoint(node.input):
            continue
        kind = types.get(node.output[0], 0)
        value = values.get(node.output[0]) if kind in INTEGERS else None
        if value is None or len(value.entries) != 1 or value.entries[0] not in homes:
            of_inner.update(node.output)
            continue
        source, axis = homes[value.entries[0]]
        if source not in added:
            shape = unused_name(f"{source}/shape", taken)
            taken.add(shape)
            added[source] = onnx.helper.make_node("Shape", [source], [shape])
        array = np.array(axis if value.scalar else [axis], dtype=np.int64)
        index = _add_constant(graph, array, f"{node.output[0]}/axis", taken)
        gather = onnx.helper.make_node("Gather", [added[source].output[0], index], [node.output[0]], name=node.name)
        if kind != onnx.TensorProto.INT64:
            gather.output[0] = unused_name(f"{node.output[0]}/size", taken)
            taken.add(gather.output[0])
            gathers.append(gather)
            gather = onnx.helper.make_node("Cast", gather.output, node.output, name=node.name, to=kind)
        node.CopyFrom(gather)
    nodes = [*added.values(), *gathers, *map(node_copy, graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)
