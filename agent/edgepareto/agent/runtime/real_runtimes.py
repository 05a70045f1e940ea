"""The libraries that really run a model, by name, imported when chosen, so that a board needs only those it uses."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.runtime import Runtime, RuntimeOptions

__all__ = ["RUNTIME_NAMES", "open_real_runtime"]

_RUNTIMES = {
    "onnxruntime": ("edgepareto.agent.runtime.onnx_runtime", "OnnxRuntime"),
    "litert": ("edgepareto.agent.runtime.litert_runtime", "LiteRuntime"),
}
RUNTIME_NAMES = tuple(_RUNTIMES)


def open_real_runtime(options: RuntimeOptions) -> Runtime:
    """Raises WorkerError: an unknown name, or its library is not installed."""
    if options.name not in _RUNTIMES:
        known = ", ".join(RUNTIME_NAMES)
        raise WorkerError(Status.LOAD_FAILED, f"runtime {options.name!r} is unknown here; known: {known}")
    module, name = _RUNTIMES[options.name]
    try:
        real = getattr(importlib.import_module(module), name)
        return cast("Callable[[RuntimeOptions], Runtime]", real)(options)
    except ImportError as error:
        raise WorkerError(
            Status.LOAD_FAILED,
            f"runtime {options.name!r} cannot be imported ({error}); install edgepareto[agent] on the board",
        ) from error
