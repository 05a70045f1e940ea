"""TensorRT's engines as files: what one depends on, and the folder that ONNX Runtime reads and writes them in.

Who can write an engine decides what the GPU, and TensorRT's own code, will run. So a worker writes only into a folder
of its own, and reads what the agent keeps for exactly its model (docs/runtimes.md).
"""

from __future__ import annotations

import ctypes
import hashlib
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import onnxruntime

__all__ = ["empty", "engine_kind", "kept_engine", "look", "pack", "unpack"]

_LIBRARIES = ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8")  # of TensorRT, the newest first; there is no 9
_NAME_BYTES = 256


def engine_kind(precision: str, sizes: Mapping[str, int]) -> str:
    """64 hex digits of all that an engine depends on beside the model: ONNX Runtime, TensorRT, driver, GPU, precision
    and the sizes that the model leaves open. A version that is not known here is in the name of ONNX Runtime's file."""
    open_sizes = (f"{name}={size}" for name, size in sorted(sizes.items()))
    parts = (str(onnxruntime.__version__), _tensorrt_version(), *_gpu(), precision, *open_sizes)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def kept_engine(engines: Path | None, kind: str) -> Path | None:
    """What the agent keeps: KIND.SHA256, by it compared with the hash before this worker was started."""
    return None if engines is None else next(iter(sorted(engines.glob(f"{kind}.*"))), None)


def look(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file: what is written anew shows."""
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def pack(folder: Path) -> IO[bytes]:
    """All files as one, which has no name and is gone with this process."""
    packed = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the engine
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return packed


def unpack(packed: IO[bytes], folder: Path) -> bool:
    """False: it is none of ours, and the folder is as it was."""
    packed.seek(0)
    try:
        with zipfile.ZipFile(packed) as archive:
            names = archive.namelist()
            if archive.testzip() is not None or any(Path(name).name != name for name in names):
                return False
            archive.extractall(folder)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError):
        empty(folder)
        return False
    return True


def _tensorrt_version() -> str:
    return next((version for version in map(_version_of, _LIBRARIES) if version is not None), "unknown")


def _version_of(library: str) -> str | None:
    try:
        return str(ctypes.CDLL(library).getInferLibVersion())
    except (OSError, AttributeError):
        return None


def _gpu() -> tuple[str, str]:
    """Name of the first one, and the version of CUDA that its driver has (CUDA Driver API)."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "unknown", "unknown"
    device, version, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return "unknown", "unknown"
    driver.cuDeviceGetName(name, _NAME_BYTES, device)
    driver.cuDriverGetVersion(ctypes.byref(version))
    return name.value.decode(errors="replace"), str(version.value)
