"""Where a study keeps what boards get: one set of files per pruned model and format, named by the .onnx file's hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.domain import AS_SET, LITERT, BatchEntry, Candidate, Deployment, Purpose
from edgepareto.host.export import sha256_of

if TYPE_CHECKING:
    from edgepareto.host.export.tflite import LiteModel

__all__ = [
    "RELATIVE_TOLERANCE",
    "batch_entry",
    "expected_outputs_file",
    "files_of",
    "inputs_file",
    "is_onnx_file_itself",
    "model_file",
    "scored_file",
    "tensors_file",
]

# Between the host's outputs and a board's, of one file. 16 bits round by up to 2^-11 at each step. In 8 bits kernels
# differ by a step of the scale in every layer: .023 was seen between x86 and Arm, saturation was .4 and more.
RELATIVE_TOLERANCE: Mapping[str, float] = {"fp32": 1e-3, "fp16": 2e-2, "int8": 0.05}


def is_onnx_file_itself(deployment: Deployment) -> bool:
    """The pruned .onnx file runs as it is; 16 bits are a GPU provider's matter then, which makes its own engine."""
    return deployment.runtime != LITERT and deployment.precision != "int8"


def model_file(models: Path, sha256: str, deployment: Deployment = AS_SET) -> Path:
    return models / f"{sha256}{_ending(deployment)}"


def expected_outputs_file(models: Path, sha256: str, deployment: Deployment = AS_SET) -> Path:
    """What the file gives on the sample inputs on the host; a board must give the same."""
    ending = "" if is_onnx_file_itself(deployment) else _ending(deployment)
    return models / f"{sha256}{ending}.outputs.npz"


def inputs_file(models: Path, deployment: Deployment = AS_SET) -> Path:
    """The sample inputs that every model is run on, in the order of axes that the runtime's files have."""
    return models / ("inputs.tflite.npz" if deployment.runtime == LITERT else "inputs.npz")


def tensors_file(models: Path, sha256: str, deployment: Deployment) -> Path:
    """How the axes of a .tflite file's inputs and outputs lie beside ONNX's."""
    return models / f"{sha256}{_ending(deployment)}.json"


def scored_file(models: Path, sha256: str, deployment: Deployment) -> Path | LiteModel:
    """What decides the accuracy: the file that runs, but for 32 bits, where the gate has shown that it is the same."""
    if deployment.precision == "fp32" or is_onnx_file_itself(deployment):
        return model_file(models, sha256)
    file = model_file(models, sha256, deployment)
    if deployment.runtime != LITERT:
        return file
    from edgepareto.host.export.board_files import read_lite_file  # brings LiteRT

    return read_lite_file(file, tensors_file(models, sha256, deployment))


def files_of(models: Path, sha256: str, deployment: Deployment) -> tuple[Path, ...]:
    """All that a candidate's board and the host need of it."""
    both = (AS_SET, deployment)
    files = [place(models, sha256, way) for way in both for place in (model_file, expected_outputs_file)]
    lite = [tensors_file(models, sha256, deployment)] if deployment.runtime == LITERT else []
    return tuple(dict.fromkeys((*files, *lite)))


def batch_entry(candidate: Candidate, models: Path, *, threads: int, purpose: Purpose, attempt: int) -> BatchEntry:
    """threads: of the device, where the candidate does not say."""
    sha256 = candidate.model_sha256
    assert sha256 is not None, "only made candidates are measured"
    way = candidate.genome.deployment
    model = model_file(models, sha256, way)
    return BatchEntry(
        candidate=candidate.id,
        purpose=purpose,
        attempt=attempt,
        model=model,
        model_sha256=sha256 if is_onnx_file_itself(way) else sha256_of(model),
        expected_outputs=expected_outputs_file(models, sha256, way),
        deployment=way.on_device(threads),
        inputs=inputs_file(models, way),
        relative_tolerance=RELATIVE_TOLERANCE[way.precision],
    )


def _ending(deployment: Deployment) -> str:
    kind = ".tflite" if deployment.runtime == LITERT else ".onnx"
    return (
        kind if deployment.precision == "fp32" or is_onnx_file_itself(deployment) else f".{deployment.precision}{kind}"
    )
