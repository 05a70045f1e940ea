"""Shapes of all tensors: what ONNX infers, and what a layer's weight says about an input that inference lost."""

from __future__ import annotations

import math

import onnx
from edgepareto.host.errors import ModelError
from edgepareto.host.pruning.normal_form.graph_names import DEFAULT_DOMAINS
from edgepareto.host.pruning.normal_form.model_outline import outline
from edgepareto.host.pruning.normal_form.symbolic_shapes import follow_shapes
from edgepareto.host.pruning.normal_form.symbolic_sizes import Size

__all__ = ["Shape", "dimension_size", "elements_per_sample", "infer_shapes", "size_factors"]

Shape = tuple["int | str | None", ...]  # a number, a symbolic dimension's name, or unknown


def infer_shapes(model: onnx.ModelProto) -> tuple[dict[str, Shape], dict[str, int]]:
    """Shapes and element types of all tensors that inference can tell. Raises ModelError where the graph contradicts
    itself.

    A size that is free is a name: equal names are equal sizes, and "8*batch" is eight times the size of that name. The
    shapes that the outputs declare may be stale (runtimes only warn), so they count only where nothing is inferred.
    """
    light = outline(model)
    declared = {value.name: _shape(value) for value in light.graph.output}
    for value in light.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    shapes, types = _inferred(light)
    while _add_dictated_shapes(light, model, shapes):
        shapes, types = _inferred(light)
    for name, written in declared.items():
        found = shapes.get(name) or written
        if written is not None and found is not None and len(found) == len(written):
            shapes[name] = tuple(b if a is None else a for a, b in zip(found, written, strict=True))
    for constant in model.graph.initializer:
        shapes[constant.name] = tuple(constant.dims)
        types[constant.name] = constant.data_type
    of_known_rank = {name: shape for name, shape in shapes.items() if shape is not None}
    named, _ = follow_shapes(model.graph, of_known_rank, types)
    return {name: tuple(_plain(size) for size in shape) for name, shape in named.items()}, types


def size_factors(size: int | str) -> tuple[int, tuple[str, ...]]:
    """The whole number in a product and its symbols: 4 and batch of "4*batch"."""
    if isinstance(size, int):
        return size, ()
    factors = size.split("*")
    symbols = tuple(factor for factor in factors if not factor.isdigit())
    return math.prod(int(factor) for factor in factors if factor.isdigit()), symbols


def elements_per_sample(shape: Shape) -> int:
    """The product of all sizes but the batch's; a symbol counts as 1.

    The batch is the axis with a symbol ("12*batch" counts 12), or the first one where all sizes are numbers.
    """
    sizes = shape[1:] if all(isinstance(size, int) for size in shape) else shape
    return math.prod(size_factors(size)[0] for size in sizes if size is not None)


def dimension_size(dimension: onnx.TensorShapeProto.Dimension) -> int | str | None:
    """A number, a symbolic dimension's name, or None where the model says nothing."""
    if dimension.HasField("dim_value"):
        return int(dimension.dim_value) if dimension.dim_value >= 0 else None  # some exporters write -1
    return dimension.dim_param or None


def _plain(size: Size) -> int | str:
    number = size.number
    return number if number is not None else str(size)


def _inferred(light: onnx.ModelProto) -> tuple[dict[str, Shape | None], dict[str, int]]:
    try:
        graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(f"the model's shapes contradict each other: {first_line}; export it again") from error
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {value.name: _shape(value) for value in values}, types


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(dimension_size(dimension) for dimension in value.type.tensor_type.shape.dim)


def _add_dictated_shapes(light: onnx.ModelProto, model: onnx.ModelProto, shapes: dict[str, Shape | None]) -> bool:
    """Behind an operator that inference does not know, a layer's weight still tells rank and channels of its input."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    ends = {value.name: value for value in (*light.graph.input, *light.graph.output)}
    added: set[str] = set()
    for node in light.graph.node:
        if node.domain not in DEFAULT_DOMAINS or len(node.input) < 2 or node.input[1] not in weights:
            continue
        data, weight = node.input[0], weights[node.input[1]]
        dictated = _dictated(node, tuple(weight.dims))
        if dictated is None or shapes.get(data) is not None or data in added:
            continue
        value = onnx.helper.make_tensor_value_info(data, weight.data_type, dictated)
        if data in ends:
            ends[data].type.CopyFrom(value.type)
        else:
            light.graph.value_info.append(value)
        added.add(data)
    return bool(added)


def _dictated(node: onnx.NodeProto, weight: tuple[int, ...]) -> list[int | str | None] | None:
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    spatial: list[int | str | None] = [None] * (len(weight) - 2)
    if node.op_type == "Conv":
        return [None, weight[1] * attributes.get("group", 1), *spatial]
    if node.op_type == "ConvTranspose":
        return [None, weight[0], *spatial]
    if node.op_type == "Gemm" and not attributes.get("transA", 0):
        return [None, weight[1] if attributes.get("transB", 0) else weight[0]]
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return [None, None, weight[2]]
    return None
