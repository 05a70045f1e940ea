"""A model's bytes straight from its arrays.

Protobuf's own serialiser copies every weight three times more: into a TensorProto, into a buffer that grows, out of it.
Here each is copied once, into the result, which is byte for byte what SerializeToString(deterministic=True) gives.
Source: protobuf.dev/programming-guides/encoding; serialisers write a message's fields in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["model_bytes"]

LENGTH_DELIMITED = 2  # the wire type of bytes and messages

Part = bytes | memoryview  # of single bytes
Outline = TypeVar("Outline", onnx.ModelProto, onnx.GraphProto)


def model_bytes(outline: onnx.ModelProto, weights: Mapping[str, NDArray[np.generic]]) -> bytes:
    """outline: the model without initializers. weights: the initializers, in order."""
    before, after = _halves(outline, onnx.ModelProto.GRAPH_FIELD_NUMBER)
    graph = list(_graph_parts(outline.graph, weights))
    return b"".join([before, *_field(onnx.ModelProto.GRAPH_FIELD_NUMBER, graph), after])


def _graph_parts(outline: onnx.GraphProto, weights: Mapping[str, NDArray[np.generic]]) -> Iterator[Part]:
    number = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
    before, after = _halves(outline, number)
    yield before
    for name, value in weights.items():
        yield from _field(number, _tensor_parts(name, value))
    yield after


def _tensor_parts(name: str, value: NDArray[np.generic]) -> list[Part]:
    if value.dtype.isbuiltin != 1 or value.dtype.hasobject:  # strings; four bits, which are packed
        return [numpy_helper.from_array(value, name).SerializeToString(deterministic=True)]
    data_type = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    head = onnx.TensorProto(name=name, dims=value.shape, data_type=data_type)
    raw = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    return [head.SerializeToString(), *_field(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, [raw.data])]


def _field(number: int, parts: list[Part]) -> list[Part]:
    return [_variable_length(number << 3 | LENGTH_DELIMITED) + _variable_length(sum(map(len, parts))), *parts]


def _halves(message: Outline, number: int) -> tuple[bytes, bytes]:
    """The fields before and behind this number, which is in neither."""
    before, after = type(message)(), type(message)()
    for part in (before, after):
        part.CopyFrom(message)
    for field in message.DESCRIPTOR.fields:
        if field.number >= number:
            before.ClearField(field.name)
        if field.number <= number:
            after.ClearField(field.name)
    return before.SerializeToString(deterministic=True), after.SerializeToString(deterministic=True)


def _variable_length(number: int) -> bytes:
    """Seven bits per byte, the lowest first; the eighth says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
