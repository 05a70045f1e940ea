"""The runtimes as the host uses them: one thread, so that the same model gives the same numbers in any process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

# Since 1.32 it keeps an id in the user's home and reports home; it reads this as it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

__all__ = ["ORT_ERRORS", "Interpreter", "fuse", "open_lite", "open_session", "sums_are_exact", "without_stderr"]

Interpreter: TypeAlias = Any  # LiteRT has no types

# They have no common base but Exception.
ORT_ERRORS = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)
STDERR = 2
# Where sums of 8-bit products are not exact (`sums_are_exact`): with this they are, bit for bit what VNNI gives.
EXACT_SUMS = ("session.x64quantprecision", "1")
PROCESSOR = Path("/proc/cpuinfo")
FATAL_ONLY = 4  # what it logs besides would stand raw between our own lines; errors are raised as well
onnxruntime.set_default_logger_severity(FATAL_ONLY)  # kernels do not ask the session


def open_session(model: bytes | Path) -> onnxruntime.InferenceSession:
    """Raises one of ORT_ERRORS where the runtime refuses the model."""
    if not sums_are_exact(_processor()):
        with suppress(state.Fail):  # it fails on some models, ONNX Runtime 1.32
            exact = _options()
            exact.add_session_config_entry(*EXACT_SUMS)
            return _open(model, exact)
    return _open(model, _options())


def sums_are_exact(processor: str) -> bool:
    """Of 8-bit products, in ONNX Runtime on a processor, as /proc/cpuinfo tells of it.

    On x86 without VNNI they are cut off at 16 bits, which costs an int8 model up to two points of accuracy
    (docs/int8.md).
    """
    flags = next((line.split() for line in processor.splitlines() if line.startswith("flags")), None)
    return flags is None or not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags)


@cache
def _processor() -> str:
    return PROCESSOR.read_text(encoding="utf-8") if PROCESSOR.exists() else ""


def fuse(model: bytes, file: Path) -> onnx.ModelProto:
    """The model after ONNX Runtime's basic rewriting, which no processor matters to: constants folded, a normalisation
    or an activation a part of the layer before. file: scratch. Raises one of ORT_ERRORS.
    """
    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    _open(model, options)
    return onnx.load(file)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    return options


def _open(model: bytes | Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    content = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def open_lite(content: bytes) -> Interpreter:
    """LiteRT with its tensors allocated. Raises RuntimeError or ValueError where it refuses the file."""
    from ai_edge_litert.interpreter import Interpreter as Opened

    with without_stderr():
        interpreter = Opened(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def without_stderr() -> Iterator[None]:
    """LiteRT greets on the process's stderr and has no switch for that (google-ai-edge/LiteRT#7420)."""
    kept = os.dup(STDERR)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
