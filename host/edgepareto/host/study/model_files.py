"""Where a study keeps what boards get: one set of files per model and runtime, named by the .onnx file's sha256."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["LITERT", "ONNX_RUNTIME", "expected_outputs_file", "files_of_model", "inputs_file", "model_file"]

ONNX_RUNTIME, LITERT = "onnxruntime", "litert"


def model_file(models: Path, sha256: str, runtime: str = ONNX_RUNTIME) -> Path:
    return models / f"{sha256}.{'tflite' if runtime == LITERT else 'onnx'}"


def expected_outputs_file(models: Path, sha256: str, runtime: str = ONNX_RUNTIME) -> Path:
    """What the model gives on the sample inputs on the host; a board must give the same."""
    return models / f"{sha256}{'.tflite' if runtime == LITERT else ''}.outputs.npz"


def inputs_file(models: Path, runtime: str = ONNX_RUNTIME) -> Path:
    """The sample inputs that every model is run on, in the order of axes that the runtime's files have."""
    return models / ("inputs.tflite.npz" if runtime == LITERT else "inputs.npz")


def files_of_model(models: Path, sha256: str, runtimes: Iterable[str]) -> tuple[Path, ...]:
    """All of them, for these runtimes and for the host itself."""
    everywhere = dict.fromkeys((ONNX_RUNTIME, *runtimes))
    return tuple(
        file for runtime in everywhere
        for file in (model_file(models, sha256, runtime), expected_outputs_file(models, sha256, runtime))
    )  # fmt: skip
