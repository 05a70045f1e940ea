"""What one model gives on the board for every row of the inputs, for a score. Nothing is timed.

In a worker like any other, a few rows at a time, so that whoever waits hears of it and can call it off.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from edgepareto.agent.conditions.linux import read_conditions
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.profiling.board import Board
from edgepareto.agent.profiling.engine_build import build_engine
from edgepareto.agent.profiling.job import shown_line
from edgepareto.agent.profiling.memory import taking_too_much, too_large
from edgepareto.agent.profiling.worker_client import DEADLINE, Deadline, WorkerClient, worker_command
from edgepareto.agent.runtime.runtime import RuntimeOptions, RuntimeUsed
from edgepareto.agent.worker.child import Cancelled
from edgepareto.agent.worker.protocol import Load, Outputs, PackedOutputs
from edgepareto.agent.worker.spawner import Spawn, spawn

__all__ = ["OutputsDone", "OutputsPiece", "OutputsProgress", "OutputsRequest", "compute_outputs"]

STEP_S = 2.0  # of work between two signs of life
LARGEST_STEP = 10_000  # rows
STEP_GROWTH = 10  # from one row on, whose time may be mostly the first run's
PIECE_BYTES = 1 << 20  # of the .npz; a third more as text, far below the longest line
LARGEST_FILE_BYTES = (
    160 << 20
)  # more than a worker keeps, with what the .npz adds; a broken one must not go on for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsRequest:
    """inputs: .npz, one key per input, first axis samples."""

    model_sha256: str
    model: Path
    inputs: Path
    runtime: RuntimeOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsProgress:
    """rows: computed so far."""

    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsPiece:
    """Of an .npz, one key per output, first axis samples; in order."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsDone:
    """The last event. Where status is not OK, message says why, and the pieces before it are no whole file."""

    status: Status
    message: str
    runtime: RuntimeUsed | None


def compute_outputs(
    request: OutputsRequest,
    board: Board,
    *,
    cancelled: Callable[[], bool],
    deadline: Deadline = DEADLINE,
    spawn_worker: Spawn = spawn,
) -> Generator[OutputsProgress | OutputsPiece | OutputsDone, None, None]:
    """Progress, then the file in pieces, then how it ended: a model that fails is a result with its verdict.

    Cancelled, it ends within a fraction of a second and without OutputsDone. To be consumed, and closed, by one thread
    that lives on: the worker dies with it. No process that it started outlives it.
    """
    used: RuntimeUsed | None = None
    try:
        with ExitStack() as stack:
            worker = _started(request, board, cancelled, deadline, spawn_worker)
            stack.callback(worker.kill)
            worker.wait_until_ready()
            if request.runtime.makes_engines:
                build_engine(
                    worker,
                    model=request.model,
                    sha256=request.model_sha256,
                    inputs=request.inputs,
                    engines=board.engines,
                )
            load = Load(model=str(request.model.absolute()), inputs=str(request.inputs.absolute()))
            used = worker.load(load).runtime
            for rows in _computed(worker):
                yield OutputsProgress(rows=rows)
            for piece in _pieces(worker):
                yield OutputsPiece(data=piece)
    except Cancelled:
        return
    except WorkerError as error:
        yield OutputsDone(status=error.status, message=shown_line(str(error)), runtime=used)
    else:
        yield OutputsDone(status=Status.OK, message="", runtime=used)


def _started(
    request: OutputsRequest, board: Board, cancelled: Callable[[], bool], deadline: Deadline, spawn_worker: Spawn
) -> WorkerClient:
    """Raises WorkerError."""
    is_simulated = board.simulation is not None
    if not is_simulated:  # else what it uses is this machine's memory
        free_bytes = read_conditions(board.sys_root).free_memory_bytes
        if (reason := too_large(request.model.stat().st_size, free_bytes)) is not None:
            raise WorkerError(Status.OOM, reason)
    options = replace(request.runtime, threads=request.runtime.threads or board.default_threads)
    if options.makes_engines and board.engines is not None:
        options = replace(options, engines=board.engines.of_model(request.model_sha256))
    command = worker_command(options, job=f"{request.model_sha256}/outputs/0", simulation=board.simulation, cpus=None)
    return WorkerClient(
        command,
        spawn=spawn_worker,
        deadline=deadline,
        cancelled=cancelled,
        takes_too_much=lambda pid: None if is_simulated else taking_too_much(pid, board.sys_root),
    )


def _computed(worker: WorkerClient) -> Iterator[int]:
    """How many rows, after each step. Raises WorkerError.

    Steps are sized by service time: what a simulated board says of a run is not what this machine needs for it.
    """
    step, computed = 1, 0
    while True:
        began_s = time.monotonic()
        done = worker.compute_outputs(Outputs(first=computed, rows=step))
        if not 1 <= done.rows <= step:
            raise _broken(worker, f"it computed {done.rows} rows, {step} were asked for")
        computed += done.rows
        yield computed
        if done.rows_left == 0:
            return
        fitting = int(step * STEP_S / max(time.monotonic() - began_s, 1e-6))
        step = max(1, min(STEP_GROWTH * step, fitting, LARGEST_STEP))


def _pieces(worker: WorkerClient) -> Iterator[bytes]:
    """Raises WorkerError."""
    start = 0
    while True:
        piece = worker.packed_outputs(PackedOutputs(start=start, size_bytes=PIECE_BYTES))
        try:
            data = base64.b64decode(piece.base64, validate=True)
        except ValueError as error:
            raise _broken(worker, f"its outputs are no base64 ({error})") from error
        start += len(data)
        if not 1 <= len(data) <= PIECE_BYTES or start > LARGEST_FILE_BYTES:
            raise _broken(worker, f"it sent {len(data)} bytes of its outputs at once, {start} in all")
        yield data
        if piece.left_bytes == 0:
            return


def _broken(worker: WorkerClient, why: str) -> WorkerError:
    worker.kill()
    return WorkerError(Status.WORKER_CRASHED, f"the worker broke the protocol: {why}")
