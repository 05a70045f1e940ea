"""Runtimes by name, imported when chosen, so that a board needs only the libraries it uses."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.runtime import Runtime, RuntimeOptions

__all__ = ["RUNTIME_NAMES", "open_runtime"]

_RUNTIMES = {
    "onnxruntime": ("edgepareto.agent.runtime.onnx_runtime", "OnnxRuntime"),
    "litert": ("edgepareto.agent.runtime.litert_runtime", "LiteRuntime"),
}
RUNTIME_NAMES = tuple(_RUNTIMES)


def open_runtime(options: RuntimeOptions, *, board: Path | None, job: str) -> Runtime:
    """The runtime `options` names or, given a simulated board's folder, that board's stand-in for it.

    job: candidate/purpose/attempt, which keys a simulated board's noise.
    Raises WorkerError: an unknown name, its library is not installed, or the simulated board has no costs of it.
    """
    if options.name not in _RUNTIMES:
        known = ", ".join(RUNTIME_NAMES)
        raise WorkerError(Status.LOAD_FAILED, f"runtime {options.name!r} is unknown here; known: {known}")
    try:
        if board is not None:
            simulated = importlib.import_module("edgepareto.agent.simulation.runtime").SimulatedRuntime
            return cast("Callable[[RuntimeOptions, Path, str], Runtime]", simulated)(options, board, job)
        module, name = _RUNTIMES[options.name]
        real = getattr(importlib.import_module(module), name)
        return cast("Callable[[RuntimeOptions], Runtime]", real)(options)
    except ImportError as error:
        raise WorkerError(
            Status.LOAD_FAILED,
            f"runtime {options.name!r} cannot be imported ({error}); install edgepareto[agent] on the board",
        ) from error
