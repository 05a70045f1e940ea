"""ONNX Runtime with every option fixed and reported, so that two boards' numbers mean the same."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.external_data import refuse_external_data
from edgepareto.agent.runtime.onnx_profile import WARM_UP_RUNS, read_profile
from edgepareto.agent.runtime.runtime import OperatorCost, RuntimeOptions, RuntimeUsed
from edgepareto.agent.runtime.verdicts import one_line, run_error, wrong_provider
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

__all__ = ["OnnxRuntime"]

# Spinning threads burn energy after a run; denormals slow some weights down by an order (docs/measurement.md, 10).
# The format is forced, for by its content a file could choose ONNX Runtime's own, which external_data.py cannot read.
_CONFIG = {
    "session.intra_op.allow_spinning": "0",
    "session.inter_op.allow_spinning": "0",
    "session.set_denormal_as_zero": "1",
    "session.load_model_format": "ONNX",
}
_ORT_ERRORS = (
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


class OnnxRuntime:
    """See Runtime. One session of `options.threads` threads (at least 1), sequential, on the named provider only."""

    def __init__(self, options: RuntimeOptions) -> None:
        self._options = options
        self._session: onnxruntime.InferenceSession | None = None
        self._output_names: list[str] = []
        self._model: Path | None = None

    def load(self, model: Path) -> RuntimeUsed:
        refuse_external_data(model)
        wanted = self._options.provider
        available = onnxruntime.get_available_providers()
        if wanted not in available:
            raise wrong_provider(wanted, f"this build offers {', '.join(available)}")
        settings = _session_options(self._options.threads)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a provider that falls back is caught below, by name
                session = onnxruntime.InferenceSession(os.fspath(model), settings, providers=[wanted])
        except _ORT_ERRORS as error:
            raise _load_error(error) from error
        session.disable_fallback()
        used = str(session.get_providers()[0])
        if used != wanted:
            raise wrong_provider(wanted, f"the session uses {used}")
        _refuse_what_is_no_numbers(session)
        self._session = session
        self._model = model
        self._output_names = [output.name for output in session.get_outputs()]
        return RuntimeUsed(
            name="onnxruntime",
            version=str(onnxruntime.__version__),
            provider=used,
            threads=int(settings.intra_op_num_threads),
            options=_reported(session.get_session_options()),
        )

    def outputs(self, feed: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        assert self._session is not None, "load comes first"
        try:
            return dict(zip(self._output_names, self._session.run(self._output_names, feed), strict=True))
        except _ORT_ERRORS as error:
            text = one_line(error)
            raise run_error(text, is_out_of_memory=_says_out_of_memory(text)) from error

    def run(self, feed: Mapping[str, NDArray[np.generic]]) -> None:
        assert self._session is not None, "load comes first"
        try:
            self._session.run(self._output_names, feed)
        except _ORT_ERRORS as error:
            text = one_line(error)
            raise run_error(text, is_out_of_memory=_says_out_of_memory(text)) from error

    def time_operators(self, feeds: Sequence[Mapping[str, NDArray[np.generic]]]) -> tuple[OperatorCost, ...]:
        """In a session of its own: a profiled one is slower."""
        assert self._model is not None, "load comes first"
        settings = _session_options(self._options.threads)
        settings.enable_profiling = True
        with TemporaryDirectory(prefix="edgepareto-operators-") as folder:
            settings.profile_file_prefix = str(Path(folder) / "profile")
            try:
                session = onnxruntime.InferenceSession(
                    os.fspath(self._model), settings, providers=[self._options.provider]
                )
                for feed in (*[feeds[0]] * WARM_UP_RUNS, *feeds):
                    session.run(self._output_names, feed)
                return read_profile(Path(session.end_profiling()))
            except _ORT_ERRORS as error:
                text = one_line(error)
                raise run_error(text, is_out_of_memory=_says_out_of_memory(text)) from error


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = 3  # errors; they are raised as well
    for key, value in _CONFIG.items():
        settings.add_session_config_entry(key, value)
    return settings


def _reported(settings: onnxruntime.SessionOptions) -> dict[str, str]:
    """The options as the loaded session tells them."""
    return {
        "intra_op_num_threads": str(settings.intra_op_num_threads),
        "inter_op_num_threads": str(settings.inter_op_num_threads),
        "execution_mode": settings.execution_mode.name,
        "graph_optimization_level": settings.graph_optimization_level.name,
        **{key: str(settings.get_session_config_entry(key)) for key in _CONFIG},
    }


def _refuse_what_is_no_numbers(session: onnxruntime.InferenceSession) -> None:
    """Text, sequences and maps can be neither drawn as sample inputs nor compared with expected outputs."""
    for role, values in (("input", session.get_inputs()), ("output", session.get_outputs())):
        for value in values:
            if value.type == "tensor(string)" or not value.type.startswith("tensor("):
                raise WorkerError(
                    Status.UNSUPPORTED_OP,
                    f"{role} {value.name} is {value.type}; only tensors of numbers can be measured: leave what reads "
                    "or writes text, sequences and maps outside of the model",
                )


def _load_error(error: BaseException) -> WorkerError:
    text = one_line(error)
    if _says_out_of_memory(text):
        return WorkerError(Status.OOM, f"the model does not fit in memory: {text}")
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


def _says_out_of_memory(text: str) -> bool:
    return "bad_alloc" in text or "Failed to allocate memory" in text
