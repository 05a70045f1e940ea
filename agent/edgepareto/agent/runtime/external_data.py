"""Refuses a model that names other files, before any runtime opens it: only the uploaded bytes may be read.

The agent has no onnx package, so the file's protobuf wire format is walked along the few fields through which a
TensorProto can be reached (onnx.proto3, protobuf.dev/programming-guides/encoding); everything else is stepped over.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from edgepareto.agent.errors import Status, WorkerError

__all__ = ["refuse_external_data"]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of TensorProto

# Message -> {field number: message of that field}, onnx.proto3; only what leads to a TensorProto.
_PATHS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}


def refuse_external_data(model: Path) -> None:
    """Raises WorkerError(INVALID_MODEL): external data, an empty or unreadable file, or no protobuf."""
    try:
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _walk(data)
    except (OSError, ValueError, IndexError) as error:
        raise WorkerError(
            Status.INVALID_MODEL, f"{model.name} is not an ONNX model ({error}); export it again as one .onnx file"
        ) from error


def _walk(data: mmap.mmap) -> None:
    waiting = [("Model", 0, len(data))]
    while waiting:
        message, start, end = waiting.pop()
        for field, value, stop in _fields(data, start, end):
            if message == "Tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
                raise WorkerError(
                    Status.INVALID_MODEL,
                    "the model keeps weights in another file (external data); save it as one file without them",
                )
            inner = _PATHS[message].get(field)
            if inner and stop:
                waiting.append((inner, value, stop))


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, start, stop) of every length-delimited field, (field number, value, 0) of every varint."""
    while at < end:
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == _LENGTH:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError(f"truncated at byte {end}")
            yield field, at, at + size
            at += size
        elif kind == _VARINT:
            value, at = _varint(data, at)
            yield field, value, 0
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"protobuf wire type {kind} at byte {at}")
    if at != end:
        raise ValueError(f"truncated at byte {end}")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:  # ten bytes hold 64 bits
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number of more than 10 bytes at byte {at}")
