"""Symbolic input sizes: the batch axis may stay open, every other size must be known before a model can be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from edgepareto.host.errors import ConfigError, ModelError

__all__ = [
    "InputTensor",
    "class_count",
    "close_batch",
    "fix_every_size",
    "fix_input_shapes",
    "input_tensors",
    "require_known_shapes",
]

Shapes = Sequence[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTensor:
    """An input as the model declares it; a symbolic size is its name, or None."""

    name: str
    shape: tuple[int | str | None, ...]
    dtype: np.dtype[np.generic]


def input_tensors(model: onnx.ModelProto) -> tuple[InputTensor, ...]:
    """What a caller feeds, in order. Old models list their weights among the inputs; those are left out."""
    return tuple(
        InputTensor(
            name=value.name,
            shape=tuple(
                axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None
                for axis in value.type.tensor_type.shape.dim
            ),
            dtype=onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
        )
        for value in _inputs(model)
    )


def fix_input_shapes(model: onnx.ModelProto, shapes: Shapes) -> onnx.ModelProto:
    """A copy whose inputs have these sizes. The first axis stays symbolic where it is and 1 is given for it.

    A dimension's name is replaced in every input that carries it. Raises ConfigError for an input that the model does
    not have, another number of axes, or a size that contradicts a fixed one.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    inputs = {value.name: value for value in _inputs(fixed)}
    for name, sizes in shapes:
        if name not in inputs:
            raise ConfigError(f"--shape {name}: the model has no such input; it has {', '.join(inputs)}")
        axes = inputs[name].type.tensor_type.shape.dim
        if len(axes) != len(sizes):
            raise ConfigError(f"--shape {name}={_text(sizes)}: the input has {len(axes)} axes, {_axes_text(axes)}")
        for position, (axis, size) in enumerate(zip(axes, sizes, strict=True)):
            if axis.HasField("dim_value") and axis.dim_value != size:
                raise ConfigError(f"--shape {name}={_text(sizes)}: the model fixes axis {position} at {axis.dim_value}")
            if not axis.HasField("dim_value") and not (position == 0 and size == 1):
                axis.Clear()
                axis.dim_value = size
    return fixed


def fix_every_size(model: onnx.ModelProto, shapes: Shapes) -> onnx.ModelProto:
    """As `fix_input_shapes`, and an open first axis takes the size that is given for it, 1 as well.

    Raises also ModelError for an input of which a size stays open.
    """
    fixed = fix_input_shapes(model, shapes)
    given = dict(shapes)
    for value in _inputs(fixed):
        axes = value.type.tensor_type.shape.dim
        if value.name in given:
            for axis, size in zip(axes, given[value.name], strict=True):
                axis.dim_value = size
    require_known_shapes(fixed)
    for value in _inputs(fixed):
        axes = value.type.tensor_type.shape.dim
        if any(not axis.HasField("dim_value") for axis in axes):
            example = ",".join(str(axis.dim_value) if axis.HasField("dim_value") else "1" for axis in axes)
            raise ModelError(
                f"input {value.name} is open in its batch, {_axes_text(axes)}, and a .tflite file has fixed sizes; "
                f"say --shape {value.name}={example}"
            )
    return fixed


def close_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which an open first axis is 1, as boards measure it. Every other size must be known."""
    closed = onnx.ModelProto()
    closed.CopyFrom(model)
    for value in _inputs(closed):
        for axis in value.type.tensor_type.shape.dim[:1]:
            if not axis.HasField("dim_value"):
                axis.dim_value = 1
    return closed


def require_known_shapes(model: onnx.ModelProto) -> None:
    """Raises ModelError where an input is not made of numbers, or, with the flag to give, where it has an unknown size
    other than its first axis.
    """
    for value in _inputs(model):
        kind = value.type.tensor_type.elem_type  # 0, undefined, where it is a sequence, a map or an optional
        if kind in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
            seen = "text" if kind == onnx.TensorProto.STRING else str(value.type.WhichOneof("value"))
            raise ModelError(
                f"input {value.name} takes {seen}, allowed are tensors of numbers; cut what turns it into numbers off "
                "the graph and export the rest"
            )
        axes = value.type.tensor_type.shape.dim
        if any(not axis.HasField("dim_value") for axis in axes[1:]):
            example = ",".join(
                str(a.dim_value) if a.HasField("dim_value") else "1" if i == 0 else "SIZE" for i, a in enumerate(axes)
            )
            raise ModelError(
                f"input {value.name} has unknown sizes {_axes_text(axes)}; say --shape {value.name}={example}"
            )


def class_count(model: onnx.ModelProto) -> int | None:
    """The classes of a classifier: the last axis of a two-axis first output. None where it is unknown."""
    axes = model.graph.output[0].type.tensor_type.shape.dim
    return int(axes[1].dim_value) if len(axes) == 2 and axes[1].HasField("dim_value") else None


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _text(sizes: Sequence[int]) -> str:
    return ",".join(map(str, sizes))


def _axes_text(axes: Sequence[onnx.TensorShapeProto.Dimension]) -> str:
    return "(" + ", ".join(str(a.dim_value) if a.HasField("dim_value") else a.dim_param or "?" for a in axes) + ")"
