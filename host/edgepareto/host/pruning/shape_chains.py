"""Reshape targets that an exporter computes at run time (Shape, Gather, Concat ...), written down as constants.

A value is followed as a list of sizes, each a number or a symbolic dimension's name. What cannot be followed stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from edgepareto.host.errors import ModelError
from onnx import numpy_helper

__all__ = ["Shape", "dimension_size", "infer_shapes", "resolve_shape_chains"]

LARGEST_SIZES = 64  # elements; a Reshape target or Slice has one per axis

Shape = tuple["int | str | None", ...]  # a number, a symbolic dimension's name, or unknown


def infer_shapes(model: onnx.ModelProto) -> tuple[dict[str, Shape], dict[str, int]]:
    """Shapes and element types of all tensors that inference can tell. Raises ModelError where the graph contradicts
    itself."""
    try:
        inferred = onnx.shape_inference.infer_shapes(_without_weights(model), data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(f"the model's shapes contradict each other: {first_line}; export it again") from error
    shapes: dict[str, Shape] = {}
    types: dict[str, int] = {}
    for value in (*model.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        types[value.name] = tensor.elem_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(dimension_size(dimension) for dimension in tensor.shape.dim)
    for constant in model.graph.initializer:
        shapes[constant.name] = tuple(constant.dims)
        types[constant.name] = constant.data_type
    return shapes, types


def resolve_shape_chains(model: onnx.ModelProto) -> None:
    """Replace, in place, every computed Reshape target that is static but for the batch by a constant."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    computed = [node for node in graph.node if node.op_type == "Reshape" and node.input[1] not in constants]
    if not computed:
        return
    shapes, _ = infer_shapes(model)
    values: dict[str, list[int | str]] = {}
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT64 and len(tensor.dims) <= 1:
            values[tensor.name] = [int(value) for value in numpy_helper.to_array(tensor).reshape(-1)]
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    for node in graph.node:
        value = _follow(node, values, shapes, opset)
        if value is not None:
            values[node.output[0]] = value
    for node in computed:
        target = _target(values.get(node.input[1]), shapes.get(node.input[0]))
        if target is not None:
            name = f"{node.output[0]}/shape"
            graph.initializer.append(numpy_helper.from_array(np.array(target, dtype=np.int64), name))
            node.input[1] = name


def dimension_size(dimension: onnx.TensorShapeProto.Dimension) -> int | str | None:
    """A number, a symbolic dimension's name, or None where the model says nothing."""
    if dimension.HasField("dim_value"):
        return int(dimension.dim_value)
    return dimension.dim_param or None


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Inference needs the values of sizes only; a weight is as good as an input, and need not be copied."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = light.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= LARGEST_SIZES:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return light


def _follow(
    node: onnx.NodeProto, values: dict[str, list[int | str]], shapes: dict[str, Shape], opset: int
) -> list[int | str] | None:
    if node.op_type == "Shape" and not node.attribute:
        shape = shapes.get(node.input[0])
        if shape is None or any(size is None for size in shape):
            return None
        return [size for size in shape if size is not None]
    known = [values.get(name) for name in node.input]
    if not known or known[0] is None:
        return None
    first = known[0]
    if node.op_type in ("Unsqueeze", "Squeeze", "Cast", "Identity"):
        return first
    if node.op_type == "Concat":
        parts = [part for part in known if part is not None]
        return [size for part in parts for size in part] if len(parts) == len(known) else None
    numbers = [part if part is not None and all(isinstance(v, int) for v in part) else None for part in known[1:]]
    if node.op_type == "Gather" and numbers[0] is not None:
        return [first[int(index)] for index in numbers[0]]
    if node.op_type == "Slice" and opset >= 10 and len(first) > 0:
        starts, ends = numbers[0], numbers[1]
        steps = numbers[3] if len(numbers) > 3 else [1]
        if starts is not None and ends is not None and steps == [1]:
            return first[int(starts[0]) : int(ends[0])]
    return None


def _target(value: Sequence[int | str] | None, data: Shape | None) -> list[int] | None:
    """A symbolic size that the data has at the same place is 0 ("copy"); a single other one is -1 ("the rest")."""
    if value is None:
        return None
    target: list[int] = []
    for position, size in enumerate(value):
        if isinstance(size, int):
            target.append(size)
        elif data is not None and position < len(data) and data[position] == size:
            target.append(0)
        else:
            target.append(-1)
    return target if target.count(-1) <= 1 else None
