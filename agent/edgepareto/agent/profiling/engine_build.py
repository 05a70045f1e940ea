"""An engine of a model on its way from the worker that compiled it to where the next worker finds it."""

from __future__ import annotations

from pathlib import Path

from edgepareto.agent.engine_store import EngineStore
from edgepareto.agent.errors import WorkerError
from edgepareto.agent.profiling.worker_client import WorkerClient
from edgepareto.agent.worker.protocol import MakeEngine

__all__ = ["build_engine"]


def build_engine(
    worker: WorkerClient, *, model: Path, sha256: str, inputs: Path, engines: EngineStore | None
) -> int | None:
    """How long it took in ns; None: none was made, or a clock that stands still meanwhile does not tell.

    It is kept under the model's name, whatever the worker says: whoever breaks a worker by a model of his own changes
    that model's engine alone. Raises WorkerError; with what the worker fails is then kept no longer.
    """
    try:
        made = worker.make_engine(MakeEngine(model=str(model.absolute()), inputs=str(inputs.absolute())))
        if made.build_ns is not None and engines is not None:
            engines.keep(sha256, made.kind, made.size_bytes, worker.read_engine(made.size_bytes))
    except WorkerError:
        if engines is not None:
            engines.drop(sha256)
        raise
    return made.build_ns or None
