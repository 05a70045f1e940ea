"""From 32-bit floats to 8-bit integers for ONNX Runtime, without any board."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from edgepareto.host.api.calibration import calibration_feeds, require_quantisable
from edgepareto.host.api.models import Model, name_of, opened_model
from edgepareto.host.api.precious_files import precious_files
from edgepareto.host.config import Flags, read_settings
from edgepareto.host.errors import WrongUse
from edgepareto.host.export import (
    fix_input_shapes,
    must_not_overwrite,
    output_must_be_writable,
    require_known_shapes,
    write_whole,
)
from edgepareto.host.views import QuantizeReport

__all__ = ["quantize"]

LIBRARY = "onnxruntime"


def quantize(
    model: Model,
    output: str | Path | None = None,
    *,
    calibration: str | Path | None = None,
    shapes: Sequence[str] = (),
    settings: str | Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> QuantizeReport:
    """Write an int8 version of a model for ONNX Runtime on CPUs, and say how much it still says what the model says.

    output: None writes no file; `report.content` has it. calibration: samples, unlabelled; None: the settings' own.
    Layers become 8 bits with what surrounds them, per channel; of models with LSTM, LayerNorm or attention the weights.
    Raises ConfigError without calibration, DataError for one that is too small or does not fit, ModelError for a model
    that is broken or known to lose too much, WrongUse for an output that cannot be written or would overwrite an input,
    EvaluationError where the file gives other outputs.
    """
    from edgepareto.host.export.parity import onnx_outputs  # brings both runtimes
    from edgepareto.host.export.quantize import int8_method, measure_fidelity, quantize_onnx, require_fidelity

    flags = Flags(calibration=None if calibration is None else str(calibration), shapes=tuple(shapes))
    chosen = read_settings(None if settings is None else Path(settings), flags)
    named = name_of(model)
    target = None if output is None else Path(output)
    if target is not None:
        if target.suffix == ".tflite":
            raise WrongUse(f"{target}: quantize writes .onnx files; host convert --precision int8 writes a .tflite")
        output_must_be_writable(target)
        if target.exists():
            must_not_overwrite(target, *precious_files(chosen, model))
    tell = on_progress or _ignore
    tell("reading the model")
    fixed = fix_input_shapes(opened_model(model), chosen.data.shapes)
    require_known_shapes(fixed)
    require_quantisable(fixed, named, runtime=LIBRARY, library=LIBRARY, version=metadata.version(LIBRARY))
    feeds, doubts = calibration_feeds(fixed, chosen)
    method = int8_method(fixed)
    tell(f"quantising on {len(feeds)} samples")
    began = time.perf_counter()
    content = quantize_onnx(fixed, feeds, method=method, name=named)
    seconds = time.perf_counter() - began
    tell("comparing with the model")
    floats = fixed.SerializeToString()
    fidelity = measure_fidelity(onnx_outputs(floats, feeds), onnx_outputs(content, feeds))
    require_fidelity(fidelity, named)
    if target is not None:
        tell(f"writing {target}")
        write_whole(target, content)
    return QuantizeReport(
        content=content,
        method=method.value,
        bytes_before=len(floats),
        absolute_error=fidelity.absolute,
        relative_error=fidelity.relative,
        cosine=fidelity.cosine,
        samples=fidelity.samples,
        seconds=seconds,
        file=target,
        doubts=doubts,
    )


def _ignore(words: str) -> None:
    """Nobody waits."""
