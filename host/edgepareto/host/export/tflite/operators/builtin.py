"""Builtins of TFLite with shapes, types and options worked out: what compositions are written with.

Tensors are numbers of the file here, and shapes, axes and orders those that it stores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion

__all__ = [
    "apply",
    "chosen",
    "integers",
    "joined",
    "mixed",
    "number",
    "options_of",
    "parts_of",
    "reduced",
    "shape_of",
    "sliced",
    "to_power",
    "to_root",
]

SHARED_OPTIONS = {"MAXIMUM": "MaximumMinimum", "MINIMUM": "MaximumMinimum"}
TRUTHS = {
    "EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT",
}  # fmt: skip


def options_of(code: str) -> object | None:
    """With their defaults; None for an operator that has none of its own name."""
    name = SHARED_OPTIONS.get(code, "".join(word.capitalize() for word in code.split("_")))
    made = getattr(schema, f"{name}OptionsT", None)
    return None if made is None else made()


def shape_of(c: Conversion, tensor: int) -> tuple[int, ...]:
    return tuple(c.flat.tensors[tensor].shape)


def number(c: Conversion, value: float, dtype: str = "float32") -> int:
    return c.flat.constant(np.array(value, dtype), "number")


def integers(c: Conversion, values: Sequence[int], name: str) -> int:
    return c.flat.constant(np.array(values, np.int32), name)


def apply(c: Conversion, code: str, *inputs: int) -> int:
    """Element by element, with numpy's broadcasting; the type is that of the last input."""
    shape = np.broadcast_shapes(*(shape_of(c, tensor) for tensor in inputs))
    dtype = "bool" if code in TRUTHS else c.dtype_of(inputs[-1])
    return c.compute(code, inputs, shape, dtype, options_of(code))


def reduced(c: Conversion, code: str, tensor: int, axes: Sequence[int], *, keep: bool = True) -> int:
    options = schema.ReducerOptionsT()
    options.keepDims = keep
    sizes = [1 if axis in axes else size for axis, size in enumerate(shape_of(c, tensor)) if keep or axis not in axes]
    return c.compute(code, [tensor, integers(c, sorted(axes), "axes")], sizes, c.dtype_of(tensor), options)


def to_power(c: Conversion, tensor: int, p: int) -> int:
    """|x|^p."""
    if p == 2:
        return apply(c, "MUL", tensor, tensor)
    size = apply(c, "ABS", tensor)
    return size if p == 1 else apply(c, "POW", size, number(c, p))


def to_root(c: Conversion, tensor: int, p: int) -> int:
    """Of what is not negative."""
    if p == 2:
        return apply(c, "SQRT", tensor)
    return tensor if p == 1 else apply(c, "POW", tensor, number(c, 1 / p))


def sliced(c: Conversion, tensor: int, begin: Sequence[int], size: Sequence[int]) -> int:
    inputs = [tensor, integers(c, begin, "begin"), integers(c, size, "size")]
    return c.compute("SLICE", inputs, size, c.dtype_of(tensor), schema.SliceOptionsT())


def parts_of(c: Conversion, tensor: int, sizes: Sequence[int], axis: int) -> list[int]:
    shape = list(shape_of(c, tensor))
    outputs = []
    for size in sizes:
        shape[axis] = size
        outputs.append(c.flat.tensor(f"part_{len(c.flat.tensors)}", shape, c.dtype_of(tensor)))
    options = schema.SplitVOptionsT()
    options.numSplits = len(sizes)
    c.flat.operator("SPLIT_V", [tensor, integers(c, sizes, "sizes"), number(c, axis, "int32")], outputs, options)
    return outputs


def joined(c: Conversion, parts: Sequence[int], axis: int) -> int:
    if len(parts) == 1:
        return parts[0]
    shape = list(shape_of(c, parts[0]))
    shape[axis] = sum(shape_of(c, part)[axis] for part in parts)
    options = schema.ConcatenationOptionsT()
    options.axis = axis
    return c.compute("CONCATENATION", parts, shape, c.dtype_of(parts[0]), options)


def chosen(c: Conversion, tensor: int, places: Array, axis: int) -> int:
    """places: along that axis, one row of them."""
    shape = list(shape_of(c, tensor))
    if np.array_equal(places, np.arange(shape[axis])):
        return tensor
    shape[axis] = places.size
    options = schema.GatherOptionsT()
    options.axis = axis
    inputs = [tensor, integers(c, places.tolist(), "places")]
    return c.compute("GATHER", inputs, shape, c.dtype_of(tensor), options)


def mixed(c: Conversion, tensor: int, matrix: Array, axis: int, name: str) -> int:
    """matrix: (new, old) sizes of that axis; it multiplies each of its rows."""
    shape = shape_of(c, tensor)
    before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    flat = c.reshaped(tensor, (before, shape[axis], after))
    weights = c.weights(matrix[None].astype(np.float32), name)
    options = schema.BatchMatMulOptionsT()
    made = c.compute("BATCH_MATMUL", [weights, flat], (before, len(matrix), after), "float32", options)
    return c.reshaped(made, (*shape[:axis], len(matrix), *shape[axis + 1 :]))
