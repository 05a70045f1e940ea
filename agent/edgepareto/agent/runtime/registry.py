"""What a worker runs its model with: a real runtime, or a simulated board's stand-in for it, chosen by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.real_runtimes import RUNTIME_NAMES, open_real_runtime
from edgepareto.agent.runtime.runtime import Runtime, RuntimeOptions

__all__ = ["open_runtime"]


def open_runtime(options: RuntimeOptions, *, board: Path | None, job: str) -> Runtime:
    """The runtime `options` names or, given a simulated board's folder, that board's stand-in for it.

    job: candidate/purpose/attempt, which keys a simulated board's noise.
    Raises WorkerError: an unknown name, its library is not installed, or the simulated board has no costs of it.
    """
    if board is None or options.name not in RUNTIME_NAMES:
        return open_real_runtime(options)
    try:
        simulated = importlib.import_module("edgepareto.agent.simulation.runtime").SimulatedRuntime
    except ImportError as error:
        raise WorkerError(
            Status.LOAD_FAILED, f"a simulated board cannot be imported ({error}); install edgepareto[agent]"
        ) from error
    return cast("Callable[[RuntimeOptions, Path, str], Runtime]", simulated)(options, board, job)
