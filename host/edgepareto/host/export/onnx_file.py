"""Reading and writing .onnx files. A file from outside is checked here before any other room sees the model."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import onnx
from edgepareto.host.errors import ModelError, WrongUse
from edgepareto.host.export.external_weights import check_external_weights, external_files, load_external_weights
from edgepareto.host.export.finite_weights import require_finite_weights
from edgepareto.host.export.model_tensors import byte_count, stored_tensors
from google.protobuf.message import DecodeError

__all__ = [
    "must_not_overwrite",
    "output_must_be_writable",
    "read_model",
    "require_sound",
    "sha256_of",
    "weight_files",
    "write_model",
    "write_model_bytes",
    "write_whole",
]

SMALLEST_MODEL_BYTES = 16
LITE_IDENTIFIER = b"TFL3"  # tensorflow/lite/schema/schema.fbs
LARGEST_MODEL_BYTES = 2**31 - 1  # protobuf's limit for one message; a board gets single files only


def read_model(path: Path) -> onnx.ModelProto:
    """The model with its weights inside, also where the file keeps them in others beside it.

    Raises ModelError: missing, a folder, unreadable, not ONNX, truncated, with weights that are not there or lie
    outside the model's folder, larger than one ONNX file can be, or with weights that are no numbers.
    """
    data = _read(path)
    model = _parsed(data, path)
    outside = check_external_weights(model, path)
    _must_fit_one_file(model, str(path))
    load_external_weights(model, path)
    require_sound(model, str(path), data=None if outside else data)
    return model


def require_sound(model: onnx.ModelProto, name: str, *, data: bytes | None = None) -> None:
    """Raises ModelError, beginning with `name`, where the model is not valid ONNX or a weight holds NaN or infinity.

    data: the model's own bytes, where they are at hand; making them takes longer than all checks.
    """
    if external_files(model, Path()):
        raise ModelError(f"{name}: its weights are in other files; load them first, onnx.load does")
    _must_fit_one_file(model, name)
    # Runtimes take an output without a shape, the checker does not; it need not stop a user.
    shapeless = [value.type.tensor_type for value in model.graph.output if _is_shapeless(value)]
    for tensor_type in shapeless:
        tensor_type.shape.SetInParent()
    try:
        whole = model.SerializeToString() if data is None or shapeless else data
        onnx.checker.check_model(whole)
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), "it says not why")
        raise ModelError(f"{name}: is no valid ONNX model: {reason}; export or copy it again") from error
    finally:
        for tensor_type in shapeless:
            tensor_type.ClearField("shape")
    require_finite_weights(model, name)


def weight_files(path: Path) -> tuple[Path, ...]:
    """The files beside a model's own that hold its weights. Raises ModelError as `read_model`."""
    return external_files(_parsed(_read(path), path), path)


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write the whole file or leave what was there. Equal models give equal bytes. ModelError where one file cannot
    hold it."""
    _must_fit_one_file(model, str(path))
    write_model_bytes(model.SerializeToString(deterministic=True), path)


def write_model_bytes(content: bytes, path: Path) -> None:
    """The same for a model that is bytes already."""
    if len(content) > LARGEST_MODEL_BYTES:
        raise _too_large(str(path), len(content))
    write_whole(path, content)


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


def output_must_be_writable(path: Path) -> None:
    """Raises WrongUse, before any work is done, where the file could not be written at its end."""
    output_folder_must_exist(path)
    exists = path.exists()
    replaced = not exists or path.is_file()  # a device is written to, whatever its folder allows
    for place in [*([path.parent] if replaced else []), *([path] if exists else [])]:
        if not os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise WrongUse(f"{path}: no permission to write to {place}; choose another -o")


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
    if not path.is_file():
        raise ModelError(f"{path}: is a pipe or a device; name an .onnx file")
    try:
        size = path.stat().st_size
        if size > LARGEST_MODEL_BYTES:
            raise ModelError(f"{path}: has {size} bytes; a single ONNX file holds at most {LARGEST_MODEL_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def _parsed(data: bytes, path: Path) -> onnx.ModelProto:
    if len(data) < SMALLEST_MODEL_BYTES:
        raise ModelError(f"{path}: is no ONNX model, it holds {len(data)} bytes; was the download or export cut off?")
    if data[4:8] == LITE_IDENTIFIER:
        raise ModelError(f"{path}: is a .tflite file; give the .onnx file that it was made from")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{path}: is no ONNX model, or is cut off at {len(data)} bytes; export it again") from error
    return model


def _must_fit_one_file(model: onnx.ModelProto, name: str) -> None:
    """Before its weights are read, or copied once more."""
    try:
        total = sum(byte_count(tensor) for _, tensor in stored_tensors(model))
    except KeyError:
        return  # a type that ONNX does not have: the checker says so
    if total > LARGEST_MODEL_BYTES:
        raise _too_large(name, total)


def _too_large(name: str, total: int) -> ModelError:
    return ModelError(
        f"{name}: its weights take {total / 1e9:.2f} GB, one ONNX file holds at most "
        f"{LARGEST_MODEL_BYTES / 1e9:.2f} GB and a larger model is not supported; use a smaller or a float16 one"
    )


def _is_shapeless(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
