"""What ONNX Runtime raises, as the worker's verdicts."""

from __future__ import annotations

from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.onnx_provider import missing_library
from edgepareto.agent.runtime.verdicts import one_line, run_error, wrong_provider
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

__all__ = ["ORT_ERRORS", "load_failure", "run_failure"]

ORT_ERRORS = (
    ort_errors.EPFail,
    ort_errors.EngineError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)
_NO_GPU = (
    "no CUDA-capable device",
    "driver version is insufficient",
    "CUDA failure 100",
    "CUDA failure 35",
    "Please install TensorRT libraries",
)


def load_failure(error: BaseException, provider: str) -> WorkerError:
    text = one_line(error)
    if _says_out_of_memory(text):
        return WorkerError(Status.OOM, f"the model does not fit in memory: {text}")
    if any(words in text for words in _NO_GPU):
        return wrong_provider(provider, f"this board cannot use it: {missing_library(provider) or text}")
    if "assigned to the default CPU EP" in text:
        if missing := missing_library(provider):
            return wrong_provider(provider, f"its library cannot be loaded: {missing}")
        return WorkerError(
            Status.WRONG_PROVIDER,
            f"provider {provider} was asked for and lacks operators of this model, which would run on the CPU instead; "
            "run this model with another runtime",
        )
    # "No Op registered" (an operator of an unknown name or opset) and "not a registered function/op" (of an unknown
    # domain) come as other classes than NotImplemented, which is a known operator without a kernel for this type.
    if isinstance(error, ort_errors.NotImplemented) or "No Op registered" in text or "not a registered" in text:
        return WorkerError(Status.UNSUPPORTED_OP, text)
    malformed = (
        ort_errors.InvalidArgument,
        ort_errors.InvalidGraph,
        ort_errors.InvalidProtobuf,
        ort_errors.NoSuchFile,
    )
    return WorkerError(Status.INVALID_MODEL if isinstance(error, malformed) else Status.LOAD_FAILED, text)


def run_failure(error: BaseException) -> WorkerError:
    text = one_line(error)
    return run_error(text, is_out_of_memory=_says_out_of_memory(text))


def _says_out_of_memory(text: str) -> bool:
    return any(words in text for words in ("bad_alloc", "Failed to allocate memory", "out of memory"))
