"""ONNX Runtime on a GPU that is not there: its CUDA and TensorRT providers as the agent sees them, computed on the CPU.

As the real ones: a call returns before its work is done, what it works on lies on the device, TensorRT makes an engine
of fixed sizes when a session is opened and of open ones at its first run, keeps it in the folder that it was given and
refuses one that is not its own; nodes without a kernel go to the CPU unless that was forbidden. Every event is counted.
Run as a program, it is a worker whose ONNX Runtime is this one; see `worker_command`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

__all__ = ["CPU", "CUDA", "TENSORRT", "XNNPACK", "Gpu", "install", "use_in_workers", "worker_command"]

CPU, XNNPACK = "CPUExecutionProvider", "XnnpackExecutionProvider"
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
SETTINGS = "EDGEPARETO_GPU_STAND_IN"
NO_CPU = "session.disable_cpu_ep_fallback"
RealSession = onnxruntime.InferenceSession


@dataclass
class Gpu:
    """providers: that this build has, beside the CPU's. lacks: operators without a kernel. fault: "silent": the library
    of the provider cannot be loaded; "raises": there is no device. hangs: at builds of files of this size.
    dies: at reading an engine. log: gets a line for each event.
    """

    providers: tuple[str, ...] = (TENSORRT,)
    lacks: tuple[str, ...] = ()
    fault: str = ""
    hangs: int = -1
    dies: bool = False
    engine_bytes: int = 1000
    log: str = ""

    def __post_init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.is_working = False

    def note(self, event: str) -> None:
        self.events[event] += 1
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{event}\n")


@dataclass(frozen=True)
class _Node:
    name: str


@dataclass(frozen=True)
class _Assigned:
    ep_name: str
    nodes: tuple[_Node, ...]

    def get_nodes(self) -> tuple[_Node, ...]:
        return self.nodes


@dataclass(frozen=True)
class _DeviceValue:
    values: np.ndarray


class _Binding:
    def __init__(self, session: _GpuSession) -> None:
        self.session = session
        self.inputs: dict[str, np.ndarray] = {}
        self.outputs: list[str] = []
        self.results: list[np.ndarray] | None = None

    def bind_ortvalue_input(self, name: str, value: _DeviceValue) -> None:
        if name not in {one.name for one in self.session.get_inputs()}:
            raise RuntimeError(f"Error when binding input: Failed to find input name in the mapping: {name}")
        self.inputs[name] = value.values

    def bind_output(self, name: str, device_type: str, device_id: int) -> None:
        assert (device_type, device_id) == ("cuda", 0)
        self.outputs.append(name)

    def synchronize_inputs(self) -> None:
        self.session.gpu.note("inputs synchronised")

    def synchronize_outputs(self) -> None:
        self.session.gpu.note("synchronised")
        self.session.gpu.is_working = False

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        assert self.results is not None
        assert not self.session.gpu.is_working, "read before it was written"
        return self.results


class _GpuSession:
    def __init__(
        self, gpu: Gpu, path: str, settings: onnxruntime.SessionOptions, provider: str, options: Mapping[str, object]
    ) -> None:
        self.gpu = gpu
        self._path, self._settings, self._provider = Path(path), settings, provider
        self._options = {name: str(value) for name, value in options.items()}
        may_use_cpu = settings.get_session_config_entry(NO_CPU) != "1" if provider != XNNPACK else True
        if provider != XNNPACK:
            settings.add_session_config_entry(NO_CPU, "0")  # of the CPU that computes behind this
        self._real = RealSession(path, settings, providers=[CPU])
        if provider != XNNPACK and not may_use_cpu:
            settings.add_session_config_entry(NO_CPU, "1")
        nodes = onnx.load(path).graph.node
        self._left = tuple(_Node(node.name) for node in nodes if node.op_type in gpu.lacks)
        self._taken = tuple(_Node(node.name) for node in nodes if node.op_type not in gpu.lacks)
        if not may_use_cpu and (self._left or gpu.fault == "silent"):
            raise ort_errors.Fail(
                "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the default "
                "CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
            )
        self._has_engine = False
        if provider == TENSORRT and all(isinstance(size, int) for one in self.get_inputs() for size in one.shape):
            self._take_engine([tuple(one.shape) for one in self.get_inputs()])

    def get_providers(self) -> list[str]:
        return [CPU] if self.gpu.fault == "silent" else [self._provider, CPU]

    def get_inputs(self) -> Sequence[onnxruntime.NodeArg]:
        return self._real.get_inputs()

    def get_outputs(self) -> Sequence[onnxruntime.NodeArg]:
        return self._real.get_outputs()

    def get_session_options(self) -> onnxruntime.SessionOptions:
        return self._settings

    def get_provider_graph_assignment_info(self) -> list[_Assigned]:
        assigned = (_Assigned(self._provider, self._taken), _Assigned(CPU, self._left))
        return [one for one in assigned if one.nodes]

    def disable_fallback(self) -> None: ...

    def io_binding(self) -> _Binding:
        return _Binding(self)

    def run(self, names: Sequence[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self.gpu.note("run from the host's memory")
        return self._real.run(names, feed)

    def run_with_iobinding(self, binding: _Binding) -> None:
        if self._provider == TENSORRT and not self._has_engine:
            self._take_engine([values.shape for values in binding.inputs.values()])
        binding.results = self._real.run(binding.outputs, binding.inputs)
        self.gpu.note("run")
        self.gpu.is_working = True

    def _take_engine(self, shapes: Sequence[tuple[int, ...]]) -> None:
        model = self._path.read_bytes()
        arithmetic = "fp16" if self._options["trt_fp16_enable"] == "True" else "fp32"
        engine = hashlib.sha256(model + repr((shapes, arithmetic)).encode()).digest() + bytes(self.gpu.engine_bytes)
        name = f"TensorrtExecutionProvider_TRTKernel_{hashlib.sha256(model).hexdigest()[:16]}_{arithmetic}_sm87.engine"
        keeps = self._options["trt_engine_cache_enable"] == "True"
        file = Path(self._options["trt_engine_cache_path"]) / name if keeps else None
        if file is not None and file.exists():
            if self.gpu.dies:
                os.abort()
            if file.read_bytes() != engine:
                raise ort_errors.EPFail("TensorRT EP could not deserialize engine from cache")
            self.gpu.note("engine read")
        else:
            self.gpu.note(f"built {arithmetic}")
            if len(model) == self.gpu.hangs:
                threading.Event().wait()
            if file is not None:
                file.write_bytes(engine)
        self._has_engine = True


def install(gpu: Gpu, patch: Callable[[object, str, object], None]) -> None:
    """patch: as monkeypatch.setattr."""

    class _OrtValue:
        @staticmethod
        def ortvalue_from_numpy(values: np.ndarray, device_type: str, device_id: int) -> _DeviceValue:
            assert (device_type, device_id) == ("cuda", 0)
            assert values.flags.c_contiguous
            gpu.note("upload")
            return _DeviceValue(values.copy())

    def open_session(
        path: str,
        sess_options: onnxruntime.SessionOptions,
        providers: Sequence[str | tuple[str, Mapping[str, object]]],
        enable_fallback: int = 1,
    ) -> object:
        first = providers[0]
        provider, options = (first, {}) if isinstance(first, str) else first
        if provider not in gpu.providers:
            return RealSession(path, sess_options, providers=[provider])
        if gpu.fault == "raises":
            if not enable_fallback:
                raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected ; GPU=-1")
            return RealSession(path, sess_options, providers=[CPU])
        return _GpuSession(gpu, path, sess_options, provider, options)

    patch(onnxruntime, "InferenceSession", open_session)
    patch(onnxruntime, "OrtValue", _OrtValue)
    patch(onnxruntime, "get_available_providers", lambda: [*gpu.providers, CPU])


def use_in_workers(gpu: Gpu, set_variable: Callable[[str, str], None]) -> None:
    """Those that `worker_command` starts. set_variable: as monkeypatch.setenv."""
    set_variable(SETTINGS, json.dumps(asdict(gpu)))


def worker_command(argv: Sequence[str]) -> list[str]:
    """What to start in place of the agent's worker."""
    return [argv[0], __file__, *argv[3:]]


def _main() -> int:
    told = json.loads(os.environ[SETTINGS])
    install(Gpu(**{name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}), setattr)
    from edgepareto.agent.worker.__main__ import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_main())
