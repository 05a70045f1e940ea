"""TFLite in, TFLite out, by litert-quantizer, which is an extra of its own."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.errors import ConfigError, EvaluationError
from edgepareto.host.export.parity import Feed
from edgepareto.host.export.quantize.rules import Method
from edgepareto.host.export.quantize.samples import calibrating
from edgepareto.host.export.tflite import LiteModel
from edgepareto.host.export.tflite.flat_model import Array, Buffer, Table, packed
from edgepareto.host.pruning.inference import without_stderr

__all__ = ["missing_lite_quantizer", "quantize_lite"]

LIBRARY = "litert_quantizer"
MISSING = "int8 in LiteRT needs litert-quantizer, which is not installed; pip install 'edgepareto[quantize]'"
Range: TypeAlias = Mapping[str, Array]  # min and max, one element each
EVERYWHERE = ".*"
LEAVE_AS_IT_IS = "no_quantize"
BITS = 8
DEAD, REVIVED = 1e-6, 1e-3  # shares of the widest range
# The ends are floats by contract. tflite-runtime has no integer kernels for the others, LiteRT slow ones.
IN_FLOAT = ("INPUT", "OUTPUT", "DIV", "RSQRT", "SQRT")
WHAT_IT_RAISES = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
INLINE = 1  # a buffer whose offset is no more than this has its bytes in the table itself


def missing_lite_quantizer() -> str | None:
    """What to install before `quantize_lite`, in a line; None: it is there. Imports nothing."""
    return None if find_spec(LIBRARY) is not None else MISSING


def quantize_lite(lite: LiteModel, feeds: Sequence[Feed], *, method: Method, name: str) -> LiteModel:
    """The same inputs and outputs, in floats, and the same signature. The same arguments give the same bytes.

    STATIC: every operator that has an integer kernel, weights per channel. DYNAMIC: weights; feeds are not used.
    Raises ConfigError where litert-quantizer is not installed, DataError for too few samples, EvaluationError where the
    quantiser fails. name: begins messages.
    """
    needed = _library()
    samples = calibrating(feeds) if method is Method.STATIC else ()
    named = replace(lite, content=_with_names_of_their_own(lite.content))
    try:
        quantizer = needed.quantizer.Quantizer(bytearray(named.content))
        operators = needed.qtyping.TFLOperationName
        if method is Method.STATIC:
            quantizer.add_static_config(EVERYWHERE, operators.ALL_SUPPORTED, BITS, BITS)
            for left in IN_FLOAT:
                quantizer.update_quantization_recipe(EVERYWHERE, operators[left], algorithm_key=LEAVE_AS_IT_IS)
        else:
            quantizer.add_dynamic_config(EVERYWHERE, operators.ALL_SUPPORTED, BITS)
        with _silence():
            ranges = _ranges(needed.calibrator, quantizer, named, samples) if samples else None
            made = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        return replace(lite, content=_inline(bytes(made.quantized_model)))
    except WHAT_IT_RAISES as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise EvaluationError(f"{name}: litert-quantizer cannot quantise it: {reason}") from error


@contextmanager
def _silence() -> Iterator[None]:
    """It draws a progress bar of its own, and opens LiteRT in ways that LiteRT warns of."""
    with without_stderr(), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Library(NamedTuple):
    """Its modules; it has no types."""

    quantizer: Any
    calibrator: Any
    qtyping: Any


def _library() -> _Library:
    try:
        from litert_quantizer import calibrator, qtyping, quantizer
    except ImportError as error:
        raise ConfigError(MISSING) from error
    return _Library(quantizer, calibrator, qtyping)


def _ranges(calibrator: Any, quantizer: Any, lite: LiteModel, samples: Sequence[Feed]) -> Mapping[str, Range]:  # noqa: ANN401
    """The smallest and largest value of every tensor. Its own average over samples forgets the first ones."""
    learning = calibrator.Calibrator(
        lite.content,
        num_threads=1,
        mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=_wider,
    )
    fed = [{name: lite.input_of(name, feed[name]) for name in lite.inputs} for feed in samples]
    (signature,) = learning.get_signature_list()
    learning.calibrate({signature: fed}, None)
    return _with_living_ranges(learning.get_model_qsvs())


def _with_living_ranges(ranges: Mapping[str, Range]) -> Mapping[str, Range]:
    """What is zero on all samples, a dead layer, gets a range all the same: XNNPACK refuses, or crashes on, a layer
    whose output's scale is that much smaller than its input's."""
    widths = {
        name: float(np.maximum(one["max"], 0).max() - np.minimum(one["min"], 0).min()) for name, one in ranges.items()
    }
    widest = max(widths.values(), default=0.0)
    return {
        name: {"min": one["min"], "max": one["max"] + REVIVED * widest} if widths[name] <= DEAD * widest else one
        for name, one in ranges.items()
    }


def _wider(known: Range, seen: Range) -> Range:
    return {"min": np.minimum(known["min"], seen["min"]), "max": np.maximum(known["max"], seen["max"])}


def _with_names_of_their_own(content: bytes) -> bytes:
    """litert-quantizer knows tensors by name; TFLite by number, and may have a name twice."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    taken: set[bytes] = set()
    for number, tensor in enumerate(tensor for graph in model.subgraphs for tensor in graph.tensors):
        if tensor.name in taken:
            tensor.name += f"#{number}".encode()
        taken.add(tensor.name)
    return packed(model, [_buffer(buffer, content) for buffer in model.buffers])


def _inline(content: bytes) -> bytes:
    """Weights as parts of the flatbuffer, where older readers look for them, not behind it."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    return packed(model, [_buffer(buffer, content) for buffer in model.buffers])


def _buffer(buffer: Table, content: bytes) -> Buffer:
    if buffer.offset > INLINE:
        return Buffer(np.frombuffer(content, np.uint8, count=buffer.size, offset=buffer.offset))
    return Buffer(None if buffer.data is None else np.asarray(buffer.data, np.uint8))
