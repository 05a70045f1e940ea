"""Weights that a model keeps in files beside it: checked against the disk before a byte of them is read.

Where a file names another file, it could name any: only files inside the model's own folder are opened
(onnx docs/ExternalData.md; GHSA-538c-55jv-c5g9).
"""

from __future__ import annotations

from pathlib import Path

import onnx
from edgepareto.host.errors import ModelError
from edgepareto.host.export.model_tensors import byte_count, stored_tensors

__all__ = ["check_external_weights", "external_files", "load_external_weights"]


def external_files(model: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """The files beside `path` that hold weights of it, each once."""
    return tuple(dict.fromkeys(path.parent / _entries(tensor).get("location", "") for _, tensor in _external(model)))


def check_external_weights(model: onnx.ModelProto, path: Path) -> bool:
    """Whether there are any; nothing is read yet. `path`: of the model's file.

    Raises ModelError for a file that is missing, too short for what is said to be in it, or outside the model's folder.
    """
    tensors = _external(model)
    for name, tensor in tensors:
        _check(name, tensor, path)
    return bool(tensors)


def load_external_weights(model: onnx.ModelProto, path: Path) -> None:
    """Bring the weights inside, in place, once they are checked. Raises ModelError where a file cannot be read."""
    try:
        for _, tensor in _external(model):
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent.resolve()))
            tensor.ClearField("data_location")
            del tensor.external_data[:]
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"{path}: its weights in other files cannot be read ({_first_line(error)}); copy them as plain files"
        ) from error


def _check(name: str, tensor: onnx.TensorProto, path: Path) -> None:
    """The file is where it may be, and as long as the tensor's place in it needs; a missing length is filled in."""
    entries = _entries(tensor)
    location = entries.get("location", "")
    folder = path.parent.resolve()
    try:
        file = (folder / location).resolve()
        size = file.stat().st_size if file.is_file() else None
    except (OSError, RuntimeError, ValueError) as error:  # too long, links in a circle, a zero byte
        raise ModelError(f"{path}: weight {name} is kept in {location[:80]!r}, which is no file") from error
    if not location or not file.is_relative_to(folder):
        raise ModelError(
            f"{path}: weight {name} is kept in {location!r}, outside the model's folder; "
            "keep all files of a model in one folder"
        )
    if size is None:
        raise ModelError(f"{path}: weight {name} is kept in {location}, which is missing beside the model; copy both")
    try:
        needed = byte_count(tensor)
        start, length = int(entries.get("offset", 0)), int(entries.get("length", needed))
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: the place or type of weight {name} in {location} makes no sense") from error
    if length != needed or start < 0:
        raise ModelError(
            f"{path}: weight {name} has {length} bytes from byte {start} in {location}, its shape "
            f"{tuple(tensor.dims)} needs {needed}; export the model again"
        )
    if start + length > size:
        raise ModelError(
            f"{path}: {location} is cut off at {size} bytes, weight {name} ends at byte {start + length}; copy it again"
        )
    if "length" not in entries:
        tensor.external_data.add(key="length", value=str(needed))


def _external(model: onnx.ModelProto) -> list[tuple[str, onnx.TensorProto]]:
    return [
        (name, tensor) for name, tensor in stored_tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
