"""ONNX to TFLite: the model in normal form, its nodes one by one through the registry, then the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from edgepareto.host.errors import ModelError
from edgepareto.host.export.tflite import operators as _operators  # fills the registry
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.definitions import write_out_definitions
from edgepareto.host.export.tflite.flat_model import Array
from edgepareto.host.export.tflite.folding import fold
from edgepareto.host.export.tflite.placement import Order, Placed, channels_last, plain
from edgepareto.host.export.tflite.registry import CONVERTERS
from edgepareto.host.export.tflite.unrolling import unroll_loops
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import Shape, infer_shapes, normalise
from onnx import numpy_helper

__all__ = ["LiteModel", "LiteTensor", "UnsupportedModel", "to_tflite"]

del _operators
WRITER = "EdgePareto"
BY_ELEMENT = {"Add", "Sub", "Mul", "Div", "BatchNormalization", "Relu", "Clip", "Pad", "Cast"}
TAKEN = ("float32", "int32", "int64", "bool")
SPATIAL = {
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample",
    "DepthToSpace", "SpaceToDepth", "LRN", "InstanceNormalization",
}  # fmt: skip


class UnsupportedModel(ModelError):
    """operators: what LiteRT cannot express, each with how many nodes."""

    def __init__(self, name: str, operators: Mapping[str, int]) -> None:
        listed = ", ".join(f"{what} ({count})" if count > 1 else what for what, count in sorted(operators.items()))
        super().__init__(f"{name}: LiteRT cannot express {listed}; run it with ONNX Runtime")
        self.operators = dict(operators)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteTensor:
    """shape: in the file. order: axis i there is axis order[i] of ONNX."""

    shape: tuple[int, ...]
    dtype: str
    order: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteModel:
    """A .tflite file. inputs, outputs: which axis of ONNX each axis of the file is, and what the file holds there."""

    content: bytes = field(repr=False)
    inputs: Mapping[str, LiteTensor]
    outputs: Mapping[str, LiteTensor]
    writer: str = WRITER

    def input_of(self, name: str, value: Array) -> Array:
        """What ONNX's input is in the file's order of axes and type."""
        return np.ascontiguousarray(value.transpose(self.inputs[name].order).astype(self.inputs[name].dtype))

    def output_of(self, name: str, value: Array) -> Array:
        """The file's output in ONNX's order of axes."""
        turned: Array = value.transpose(np.argsort(self.outputs[name].order))
        return turned


def to_tflite(model: onnx.ModelProto, name: str = "the model", *, half: bool = False) -> LiteModel:
    """All sizes of the inputs must be numbers. half: weights as 16-bit floats, computed with as 32-bit ones.

    An image input (4 axes, read by a convolution or the like) is NHWC in the file, 64-bit integers are 32-bit ones.
    Raises ModelError; UnsupportedModel with all that LiteRT lacks. name: begins their messages.
    """
    normal = unroll_loops(write_out_definitions(normalise(model), CONVERTERS))
    inferred, types = infer_shapes(normal)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in normal.graph.initializer}
    fold(normal, constants)
    shapes = {value: sizes for value, shape in inferred.items() if (sizes := _sizes(shape)) is not None}
    missing = _not_expressible(normal, shapes, types)
    if missing:
        raise UnsupportedModel(name, missing)
    c = Conversion(normal, constants, shapes, types, half=half)
    inputs = {value.name: _begin(c, normal, value.name) for value in normal.graph.input}
    missing.update(why for node in normal.graph.node if (why := _convert(c, node)))
    if missing:
        raise UnsupportedModel(name, missing)
    taken = {placed.tensor for placed in inputs.values()}
    outputs: dict[str, Placed] = {}
    for value in normal.graph.output:
        outputs[value.name] = _end(c, value.name, taken)
        taken.add(outputs[value.name].tensor)
    return LiteModel(
        content=c.flat.to_bytes(_tensors(inputs), _tensors(outputs), WRITER),
        inputs={key: _described(c, placed) for key, placed in inputs.items()},
        outputs={key: _described(c, placed) for key, placed in outputs.items()},
    )


def _not_expressible(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], types: Mapping[str, int]
) -> Counter[str]:
    """What can be told before any node is converted."""
    missing = Counter(node.op_type for node in model.graph.node if node.op_type not in CONVERTERS)
    odd_inputs = [kind for value in model.graph.input if (kind := _dtype(types.get(value.name, 0))) not in TAKEN]
    if odd_inputs:  # what reads them is of the same type, and no news
        missing.update(f"an input of {kind}" for kind in odd_inputs)
        return missing
    wanted = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    for node in model.graph.node:
        for output in wanted.intersection(node.output):
            kind = _dtype(types.get(output, 0))
            if node.op_type not in CONVERTERS:
                continue
            if output not in shapes:
                # behind an operator that is missing itself, sizes are missing as well
                missing.update({f"{node.op_type} whose output has no fixed size": 1} if not missing else {})
            elif 0 in shapes[output]:
                missing[f"{node.op_type} of an empty tensor"] += 1
            elif kind not in TAKEN:
                missing[f"{node.op_type} of {kind}"] += 1
    return missing


def _convert(c: Conversion, node: onnx.NodeProto) -> str | None:
    """Why it cannot be; its outputs then stand there unmade, so that all that is missing is told at once."""
    try:
        CONVERTERS[node.op_type](c, node)
    except Unsupported as why:
        for value in node.output:
            if value in c.shapes:
                c.give_plain(value, c.flat.tensor(value, c.shape(value), c.dtype(value)))
        return str(why)
    return None


def _described(c: Conversion, placed: Placed) -> LiteTensor:
    return LiteTensor(shape=placed.stored, dtype=c.dtype_of(placed.tensor), order=placed.order)


def _tensors(placed: Mapping[str, Placed]) -> dict[str, int]:
    return {name: one.tensor for name, one in placed.items()}


def _sizes(shape: Shape) -> tuple[int, ...] | None:
    """None: not all are known."""
    sizes = tuple(size for size in shape if isinstance(size, int))
    return sizes if len(sizes) == len(shape) else None


def _dtype(element_type: int) -> str:
    if element_type in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return "text or an unknown type"
    return str(onnx.helper.tensor_dtype_to_np_dtype(element_type).name)


def _begin(c: Conversion, model: onnx.ModelProto, name: str) -> Placed:
    """An image where a layer reads it as one: NHWC."""
    shape = c.shape(name)
    order = channels_last(4) if len(shape) == 4 and _is_image(model, name) else plain(len(shape))
    tensor = c.flat.tensor(name, [shape[axis] for axis in order], c.dtype(name))
    c.give(name, tensor, order)
    return Placed(tensor=tensor, shape=shape, order=order)


def _is_image(model: onnx.ModelProto, name: str) -> bool:
    """Whether a layer over windows or the like reads it, as it is or element by element changed."""
    names = {name}
    for node in model.graph.node:
        if names.isdisjoint(node.input):
            continue
        if node.op_type in SPATIAL:
            return True
        if node.op_type in BY_ELEMENT:
            names.update(node.output)
    return False


def _end(c: Conversion, name: str, taken: set[int]) -> Placed:
    """An image as it lies, all else as ONNX has it; a tensor of its own, and neither an input nor a constant."""
    shape = c.shape(name)
    placed = c.placed(name)
    order = channels_last(4) if len(shape) == 4 and placed.order == channels_last(4) else plain(len(shape))
    tensor = c.ordered(name, order)
    if tensor in taken or c.made_by_nobody(tensor):
        tensor = c.reshaped_copy(tensor, [shape[axis] for axis in order])
    return Placed(tensor=tensor, shape=shape, order=order)
