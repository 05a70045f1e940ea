"""The gate that a .tflite file passes before it leaves the host: run beside ONNX Runtime, on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from edgepareto.host.errors import EvaluationError
from edgepareto.host.export.tflite import LiteModel
from edgepareto.host.pruning.inference import ORT_ERRORS, open_lite, open_session
from numpy.typing import NDArray

__all__ = ["LARGEST_ERROR", "Feed", "Parity", "lite_outputs", "measure_parity", "onnx_outputs", "require_parity"]

# Of 32-bit files rounding alone is left; 16-bit weights are off by up to 2^-11 each.
LARGEST_ERROR = {"fp32": 1e-4, "fp16": 2e-2}
SMALLEST_SCALE = 1e-6  # outputs below are noise, and compared with this
Feed = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Of all outputs on all samples. relative: max |seen - expected| / max |expected| of the worst output."""

    absolute: float
    relative: float
    samples: int


def onnx_outputs(model: bytes, feeds: Sequence[Feed]) -> list[Feed]:
    """What ONNX Runtime gives, one thread. model: the .onnx file. feeds: one per run. Raises EvaluationError."""
    try:
        session = open_session(model)
        names = [output.name for output in session.get_outputs()]
        return [dict(zip(names, session.run(names, dict(feed)), strict=True)) for feed in feeds]
    except ORT_ERRORS as error:
        raise EvaluationError(f"ONNX Runtime failed on the model: {str(error).splitlines()[0]}") from error


def measure_parity(lite: LiteModel, feeds: Sequence[Feed], expected: Sequence[Feed]) -> Parity:
    """feeds, expected: inputs as ONNX takes them and the outputs that it gives, one per run. One thread.

    Raises EvaluationError where LiteRT refuses the file or the inputs.
    """
    seen = lite_outputs(lite, feeds)
    absolute = relative = 0.0
    for name in expected[0]:
        wanted = np.stack([run[name] for run in expected]).astype(np.float64)
        got = np.stack([run[name] for run in seen]).astype(np.float64)
        if wanted.shape != got.shape:
            raise EvaluationError(
                f"output {name} has shape {got.shape[1:]} in LiteRT, {wanted.shape[1:]} in ONNX Runtime"
            )
        apart = np.abs(got - wanted)
        worst = float(apart.max(initial=0.0)) if np.isfinite(apart).all() else float("inf")
        absolute = max(absolute, worst)
        relative = max(relative, worst / max(float(np.abs(wanted).max(initial=0.0)), SMALLEST_SCALE))
    return Parity(absolute=absolute, relative=relative, samples=len(feeds))


def require_parity(parity: Parity, precision: str) -> None:
    """Raises EvaluationError where the file computes something else. precision: a key of LARGEST_ERROR."""
    allowed = LARGEST_ERROR[precision]
    if not parity.relative <= allowed:
        raise EvaluationError(
            f"the .tflite file gives other outputs than ONNX Runtime, relative error {parity.relative:.2g} on "
            f"{parity.samples} samples, allowed {allowed:g}; it is not written, please report the model"
        )


def lite_outputs(lite: LiteModel, feeds: Sequence[Feed]) -> list[Feed]:
    """What LiteRT gives, in ONNX's order of axes, one thread. Raises EvaluationError."""
    try:
        interpreter = open_lite(lite.content)
        signature = interpreter.get_signature_runner()
        runs: list[Feed] = []
        for feed in feeds:
            interpreter.reset_all_variables()  # the state of fused LSTMs
            outputs = signature(**{name: lite.input_of(name, feed[name]) for name in lite.inputs})
            runs.append({name: lite.output_of(name, value) for name, value in outputs.items()})
    except (RuntimeError, ValueError) as error:
        raise EvaluationError(f"LiteRT refuses the file: {' '.join(str(error).split())[:300]}") from error
    return runs
