"""ONNX Runtime with every option fixed and reported, so that two boards' numbers mean the same."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TypeAlias

import numpy as np
import onnxruntime
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime import tensorrt_engine
from edgepareto.agent.runtime.device_runs import DeviceRuns
from edgepareto.agent.runtime.exact_sums import exact_sums
from edgepareto.agent.runtime.external_data import refuse_external_data
from edgepareto.agent.runtime.onnx_errors import ORT_ERRORS, load_failure, run_failure
from edgepareto.agent.runtime.onnx_profile import WARM_UP_RUNS, read_profile
from edgepareto.agent.runtime.onnx_provider import (
    CPU,
    ON_GPU,
    ProviderOptions,
    check_provider,
    provider_options,
    session_entries,
)
from edgepareto.agent.runtime.runtime import Engine, OperatorCost, RuntimeOptions, RuntimeUsed
from edgepareto.agent.runtime.verdicts import wrong_provider
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

__all__ = ["OnnxRuntime"]

# Spinning threads burn energy after a run; denormals slow some weights down by an order (docs/measurement.md, 10).
# The format is forced, for by its content a file could choose ONNX Runtime's own, which external_data.py cannot read.
_CONFIG = {
    "session.intra_op.allow_spinning": "0",
    "session.inter_op.allow_spinning": "0",
    "session.set_denormal_as_zero": "1",
    "session.load_model_format": "ONNX",
}
_Opened: TypeAlias = tuple[onnxruntime.InferenceSession, onnxruntime.SessionOptions]


class OnnxRuntime:
    """See Runtime and EngineMaker. One session of `options.threads` threads (at least 1), sequential, on the named
    provider only. On a GPU an inference is one from its memory to its memory, at its end."""

    def __init__(self, options: RuntimeOptions) -> None:
        self._options = options
        self._session: onnxruntime.InferenceSession | None = None
        self._output_names: list[str] = []
        self._model: Path | None = None
        self._on_device: DeviceRuns | None = None
        self._sizes: dict[str, int] = {}
        self._sums: Mapping[str, str] = {} if options.provider in ON_GPU else exact_sums()
        self._engine: IO[bytes] | None = None

    def make_engine(self, model: Path, feed: Mapping[str, NDArray[np.generic]]) -> Engine | None:
        """A kept one is tried first: its files may be whole and yet not what this TensorRT takes."""
        if not self._options.makes_engines:
            return None
        self._check_available(model)
        self._sizes = self._open_sizes(model, feed)
        kind = tensorrt_engine.engine_kind(self._options.precision, self._sizes)
        kept = tensorrt_engine.kept_engine(self._options.engines, kind)
        self._engine = None if kept is None else self._held(kept.open("rb"))
        with self._engine_folder() as folder:
            before = tensorrt_engine.look(folder)
            try:
                self._try_out(model, feed, folder)
            except WorkerError:
                if not before:
                    raise
                tensorrt_engine.empty(folder)
                before = {}
                self._try_out(model, feed, folder)
            if tensorrt_engine.look(folder) == before:
                return None
            self._engine = self._held(tensorrt_engine.pack(folder))
        return Engine(kind=kind, size_bytes=self._engine.seek(0, os.SEEK_END), content=self._engine)

    def load(self, model: Path) -> RuntimeUsed:
        self._check_available(model)
        wanted = self._options.provider
        # Without one, TensorRT makes it now, or for open sizes at the first run, and it is kept nowhere.
        with nullcontext(None) if self._engine is None else self._engine_folder() as folder:
            session, settings, asked = self._open(model, folder)
        told = check_provider(session, asked, wanted)
        _refuse_what_is_no_numbers(session)
        self._session = session
        self._model = model
        self._output_names = [output.name for output in session.get_outputs()]
        self._on_device = DeviceRuns(session) if wanted in ON_GPU else None
        return RuntimeUsed(
            name="onnxruntime",
            version=str(onnxruntime.__version__),
            provider=wanted,
            threads=int(settings.intra_op_num_threads),
            options={**_reported(session.get_session_options(), (*session_entries(wanted), *self._sums)), **told},
        )

    def outputs(self, feed: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        assert self._session is not None, "load comes first"
        try:
            if self._on_device is not None:
                return self._on_device.outputs(feed)
            return dict(zip(self._output_names, self._session.run(self._output_names, feed), strict=True))
        except ORT_ERRORS as error:
            raise run_failure(error) from error

    def run(self, feed: Mapping[str, NDArray[np.generic]]) -> None:
        assert self._session is not None, "load comes first"
        try:
            if self._on_device is not None:
                self._on_device.run(feed)
            else:
                self._session.run(self._output_names, feed)
        except ORT_ERRORS as error:
            raise run_failure(error) from error

    def time_operators(self, feeds: Sequence[Mapping[str, NDArray[np.generic]]]) -> tuple[OperatorCost, ...]:
        """In a session of its own: a profiled one is slower. On a GPU the profile has the times of the calls alone."""
        assert self._model is not None, "load comes first"
        if self._on_device is not None:
            raise WorkerError(
                Status.LOAD_FAILED,
                f"{self._options.provider} does not tell the time of single operators; ask for {CPU}",
            )
        settings = _session_options(self._options, self._sums)
        settings.enable_profiling = True
        with TemporaryDirectory(prefix="edgepareto-operators-") as folder:
            settings.profile_file_prefix = str(Path(folder) / "profile")
            providers = [(self._options.provider, provider_options(self._options, None))]
            try:
                session = onnxruntime.InferenceSession(os.fspath(self._model), settings, providers=providers)
                for feed in (*[feeds[0]] * WARM_UP_RUNS, *feeds):
                    session.run(self._output_names, feed)
                return read_profile(Path(session.end_profiling()))
            except ORT_ERRORS as error:
                raise run_failure(error) from error

    def _check_available(self, model: Path) -> None:
        refuse_external_data(model)
        wanted, available = self._options.provider, onnxruntime.get_available_providers()
        if wanted not in available:
            raise wrong_provider(wanted, f"this build offers {', '.join(available)}")

    def _open(
        self, model: Path, engines: Path | None
    ) -> tuple[onnxruntime.InferenceSession, onnxruntime.SessionOptions, ProviderOptions]:
        asked = provider_options(self._options, engines)
        try:
            session, settings = self._exact_session(model, asked) or self._session_of(model, asked)
        except ORT_ERRORS as error:
            raise load_failure(error, self._options.provider) from error
        session.disable_fallback()
        return session, settings, asked

    def _exact_session(self, model: Path, asked: ProviderOptions) -> _Opened | None:
        """None: sums are exact without more, or the model does not load so."""
        if self._sums:
            with suppress(Fail):
                return self._session_of(model, asked)
            self._sums = {}
        return None

    def _session_of(self, model: Path, asked: ProviderOptions) -> _Opened:
        """Raises one of ORT_ERRORS."""
        settings = _session_options(self._options, self._sums)
        for name, size in self._sizes.items():
            settings.add_free_dimension_override_by_name(name, size)
        providers = [(self._options.provider, asked)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a provider that is not used in the end is told by name
            # Without its fallback: that one would open the model once more, on the CPU, and say so on stdout.
            session = onnxruntime.InferenceSession(os.fspath(model), settings, providers=providers, enable_fallback=0)
        return session, settings

    def _try_out(self, model: Path, feed: Mapping[str, NDArray[np.generic]], engines: Path) -> None:
        session, _, asked = self._open(model, engines)
        check_provider(session, asked, self._options.provider)
        _refuse_what_is_no_numbers(session)
        try:
            DeviceRuns(session).run(feed)
        except ORT_ERRORS as error:
            raise run_failure(error) from error

    def _held(self, content: IO[bytes]) -> IO[bytes]:
        """Open as long as this runtime lives."""
        weakref.finalize(self, content.close)
        return content

    @contextmanager
    def _engine_folder(self) -> Iterator[Path]:
        """With the model's engine, where there is one."""
        with TemporaryDirectory(prefix="edgepareto-engine-") as name:
            folder = Path(name)
            if self._engine is not None and not tensorrt_engine.unpack(self._engine, folder):
                self._engine = None
            yield folder

    def _open_sizes(self, model: Path, feed: Mapping[str, NDArray[np.generic]]) -> dict[str, int]:
        """Those that the model leaves open, as the feed has them: an engine is made for fixed ones."""
        plain = onnxruntime.SessionOptions()
        plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        plain.add_session_config_entry("session.load_model_format", "ONNX")
        plain.log_severity_level = 3
        try:
            inputs = onnxruntime.InferenceSession(os.fspath(model), plain, providers=[CPU]).get_inputs()
        except ORT_ERRORS as error:
            raise load_failure(error, self._options.provider) from error
        return {
            axis: size
            for value in inputs
            if value.name in feed
            for axis, size in zip(value.shape, feed[value.name].shape, strict=False)
            if isinstance(axis, str) and axis
        }


def _session_options(options: RuntimeOptions, sums: Mapping[str, str]) -> onnxruntime.SessionOptions:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = 3  # errors; they are raised as well
    for key, value in {**_CONFIG, **session_entries(options.provider), **sums}.items():
        settings.add_session_config_entry(key, value)
    return settings


def _reported(settings: onnxruntime.SessionOptions, entries: Sequence[str]) -> dict[str, str]:
    """The options as the loaded session tells them. entries: beside _CONFIG's."""
    return {
        "intra_op_num_threads": str(settings.intra_op_num_threads),
        "inter_op_num_threads": str(settings.inter_op_num_threads),
        "execution_mode": settings.execution_mode.name,
        "graph_optimization_level": settings.graph_optimization_level.name,
        **{key: str(settings.get_session_config_entry(key)) for key in (*_CONFIG, *entries)},
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
