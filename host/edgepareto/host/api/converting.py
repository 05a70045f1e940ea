"""From .onnx to .tflite, without any board."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from edgepareto.host.api.calibration import calibration_feeds, require_quantisable
from edgepareto.host.api.models import Model, name_of, opened_model
from edgepareto.host.api.precious_files import precious_files
from edgepareto.host.api.sample_inputs import SAMPLE_INPUTS, sample_inputs
from edgepareto.host.config import Flags, read_settings
from edgepareto.host.config.section import did_you_mean
from edgepareto.host.domain import PRECISIONS
from edgepareto.host.errors import ConfigError, ModelError, WrongUse
from edgepareto.host.export import (
    fix_every_size,
    input_tensors,
    must_not_overwrite,
    output_must_be_writable,
    write_whole,
)
from edgepareto.host.views import ConvertReport, FileTensor

if TYPE_CHECKING:
    from edgepareto.host.export.tflite import LiteTensor

__all__ = ["PRECISIONS", "convert"]

LIBRARY = "ai-edge-litert"


def convert(
    model: Model,
    output: str | Path | None = None,
    *,
    precision: str = "fp32",
    calibration: str | Path | None = None,
    shapes: Sequence[str] = (),
    int32_inputs: bool = False,
    settings: str | Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> ConvertReport:
    """Write a TFLite file that gives what ONNX Runtime gives, and say how closely; where it does not, write none.

    output: None writes no file; `report.content` has it. precision: fp32; fp16, weights of half the size that are
    computed with in 32 bits; int8, as `quantize` says, inputs and outputs stay floats. calibration: samples for the
    comparison, and for int8's ranges; None: the settings' own, else seeded numbers, but not for int8.
    shapes: as typed, "x=1,3,224,224"; an open batch must be given. int32_inputs: whole numbers of 64 bits become ones
    of 32, which a caller of the file must then give; without it such a model is refused.
    Raises ConfigError for wrong options, int8 without calibration or without litert-quantizer, ModelError for a model
    that is broken, open in a size, or that LiteRT cannot express so, DataError for calibration that does not fit,
    WrongUse for an output that cannot be written or would overwrite an input, EvaluationError where the outputs differ.
    """
    from edgepareto.host.export.lite_model import make_lite_model  # brings LiteRT
    from edgepareto.host.export.parity import lite_outputs, measure_parity, onnx_outputs, require_parity
    from edgepareto.host.export.quantize import int8_method, measure_fidelity, quantize_lite, require_fidelity

    if precision not in PRECISIONS:
        guess = did_you_mean(precision, PRECISIONS)
        raise ConfigError(f"--precision {precision}: is not known; choose {', '.join(PRECISIONS)}{guess}")
    flags = Flags(calibration=None if calibration is None else str(calibration), shapes=tuple(shapes))
    chosen = read_settings(None if settings is None else Path(settings), flags)
    named = name_of(model)
    target = None if output is None else Path(output)
    if target is not None:
        if target.suffix == ".onnx":
            raise WrongUse(f"{target}: convert writes .tflite files; name it {target.with_suffix('.tflite').name}")
        output_must_be_writable(target)
        if target.exists():
            must_not_overwrite(target, *precious_files(chosen, model))
    tell = on_progress or _ignore
    tell("reading the model")
    fixed = fix_every_size(opened_model(model), chosen.data.shapes)
    if not int32_inputs:
        _refuse_int64(fixed, named)
    if precision == "int8":
        version = metadata.version(LIBRARY)
        require_quantisable(fixed, named, runtime="litert", library=LIBRARY, version=version)
        feeds, doubts = calibration_feeds(fixed, chosen)
        fed_with = "calibration"
    else:
        dataset, fed_with = sample_inputs(input_tensors(fixed), chosen, must_fit=calibration is not None)
        feeds, doubts = [dataset.run_feed(index) for index in range(min(SAMPLE_INPUTS, len(dataset)))], ()
    expected = onnx_outputs(fixed.SerializeToString(), feeds)
    tell("converting")
    began = time.perf_counter()
    lite = make_lite_model(fixed, named, feeds, expected, half=precision == "fp16")
    seconds = time.perf_counter() - began
    tell("comparing with ONNX Runtime")
    parity = measure_parity(lite, feeds, expected)
    require_parity(parity, "fp16" if precision == "fp16" else "fp32")
    absolute, relative, cosine = parity.absolute, parity.relative, None
    if precision == "int8":
        tell(f"quantising on {len(feeds)} samples")
        began = time.perf_counter()
        lite = quantize_lite(lite, feeds, method=int8_method(fixed), name=named)
        seconds += time.perf_counter() - began
        fidelity = measure_fidelity(expected, lite_outputs(lite, feeds))
        require_fidelity(fidelity, named)
        absolute, relative, cosine = fidelity.absolute, fidelity.relative, fidelity.cosine
    if target is not None:
        tell(f"writing {target}")
        write_whole(target, lite.content)
    return ConvertReport(
        content=lite.content,
        inputs=_file_tensors(lite.inputs),
        outputs=_file_tensors(lite.outputs),
        precision=precision,
        absolute_error=absolute,
        relative_error=relative,
        cosine=cosine,
        samples=parity.samples,
        fed_with=fed_with,
        seconds=seconds,
        writer=lite.writer,
        file=target,
        doubts=doubts,
    )


def _refuse_int64(model: onnx.ModelProto, named: str) -> None:
    wide = [tensor.name for tensor in input_tensors(model) if np.dtype(tensor.dtype) == np.int64]
    if wide:
        raise ModelError(
            f"{named}: {', '.join(wide)}: int64 inputs become int32 in a .tflite file; say --int32-inputs if whoever "
            "runs it will give these, or keep to ONNX Runtime"
        )


def _file_tensors(tensors: Mapping[str, LiteTensor]) -> tuple[FileTensor, ...]:
    return tuple(
        FileTensor(name=name, shape=tensor.shape, dtype=tensor.dtype, axes=tensor.order)
        for name, tensor in tensors.items()
    )


def _ignore(words: str) -> None:
    """Nobody waits."""
