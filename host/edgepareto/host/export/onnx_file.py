"""Reading and writing .onnx files. A file from outside is checked here before any other room sees the model."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
from edgepareto.host.errors import ModelError, WrongUse
from google.protobuf.message import DecodeError

__all__ = ["output_folder_must_exist", "read_model", "sha256_of", "write_model", "write_whole"]

SMALLEST_MODEL_BYTES = 16
LARGEST_MODEL_BYTES = 2**31 - 1  # protobuf's limit for one message; a board gets single files only


def read_model(path: Path) -> onnx.ModelProto:
    """The model with its weights inside, also where the file keeps them in others beside it.

    Raises ModelError: missing, a folder, unreadable, not ONNX, truncated, or with weights outside the model's folder.
    """
    data = _read(path)
    if len(data) < SMALLEST_MODEL_BYTES:
        raise ModelError(f"{path}: is no ONNX model, it holds {len(data)} bytes; was the download or export cut off?")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{path}: is no ONNX model, or is cut off at {len(data)} bytes; export it again") from error
    _load_external_weights(model, path)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:  # ValueError: larger than protobuf's limit with weights
        reason = next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), "it says not why")
        raise ModelError(f"{path}: is no valid ONNX model: {reason}; export or copy it again") from error
    return model


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write the whole file or leave what was there. Equal models give equal bytes."""
    write_whole(path, model.SerializeToString(deterministic=True))


def write_whole(path: Path, data: bytes) -> None:
    """Replace `path` in one step, so that a crash or a full disk leaves no half file. WrongUse without its folder."""
    output_folder_must_exist(path)
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a pipe or /dev/stdout: writing to it is meant, replacing it is not
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())  # mkstemp's 0600 would hide the file from the user's group
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def output_folder_must_exist(path: Path) -> None:
    """Raises WrongUse: an output folder is never created, because a mistyped one would be."""
    if not path.parent.is_dir():
        raise WrongUse(f"{path}: the folder {path.parent} does not exist; create it first or choose another -o")
    if path.is_dir():
        raise WrongUse(f"{path}: is a folder; -o names the file to write")


def must_not_overwrite(output: Path, *precious: Path) -> None:
    """Raises WrongUse where `output` is one of these files, or lies inside one of these folders."""
    for path in precious:
        if output.resolve() == path.resolve() or (path.is_dir() and output.resolve().is_relative_to(path.resolve())):
            kind = "lies inside" if path.is_dir() else "is"
            raise WrongUse(f"{output}: {kind} {path}, which would be lost; choose another -o")


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _read(path: Path) -> bytes:
    if not path.exists():
        raise ModelError(f"{path}: no such file; name an .onnx model")
    if path.is_dir():
        raise ModelError(f"{path}: is a folder; name an .onnx file")
    try:
        size = path.stat().st_size
        if size > LARGEST_MODEL_BYTES:
            raise ModelError(f"{path}: has {size} bytes; a single ONNX file holds at most {LARGEST_MODEL_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def _load_external_weights(model: onnx.ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    external = [t for t in _tensors(model.graph) if t.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in external:
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        file = (folder / location).resolve()
        if not location or not file.is_relative_to(folder):
            raise ModelError(
                f"{path}: weight {tensor.name} is kept in {location!r}, outside the model's folder; "
                "keep all files of a model in one folder"
            )
        if not file.is_file():
            raise ModelError(f"{path}: weight {tensor.name} is kept in {location}, which is missing beside the model")
    if external:
        try:
            onnx.load_external_data_for_model(model, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise ModelError(f"{path}: its weights in other files cannot be read ({error})") from error


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of the graph: initializers, constants, and those of the graphs inside its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _tensors(inner)
