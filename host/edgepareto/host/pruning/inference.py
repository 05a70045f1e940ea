"""ONNX Runtime as the host uses it: one thread, so that the same model gives the same numbers in any process."""

from __future__ import annotations

import os
from pathlib import Path

# Since 1.32 it keeps an id in the user's home and reports home; it reads this as it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

__all__ = ["ORT_ERRORS", "open_session"]

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
FATAL_ONLY = 4  # what it logs besides would stand raw between our own lines; errors are raised as well


def open_session(model: bytes | Path) -> onnxruntime.InferenceSession:
    """Raises one of ORT_ERRORS where the runtime refuses the model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    content = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
