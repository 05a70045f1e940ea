"""python -m edgepareto.agent.worker: one model, one process, alive for a whole batch, blocked on its pipe when unused.

Commands come as lines on stdin, answers go as lines to stdout; see protocol. The end of stdin ends it.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgepareto.agent.clock import open_clock
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.registry import open_runtime
from edgepareto.agent.runtime.runtime import RuntimeOptions
from edgepareto.agent.worker import process
from edgepareto.agent.worker.protocol import (
    Block,
    Check,
    Command,
    Failed,
    Load,
    MakeEngine,
    Memory,
    Outputs,
    PackedOutputs,
    ReadEngine,
    Ready,
    Reply,
    TimeOperators,
    WarmUp,
    Window,
    decode_command,
    encode,
)

if TYPE_CHECKING:
    from edgepareto.agent.worker.model_runs import ModelRuns

__all__ = ["main", "serve", "worker_arguments"]


def main(argv: list[str] | None = None) -> int:
    arguments = worker_arguments(argv)
    process.die_with_the_agent()
    return serve(arguments)


def worker_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Raises SystemExit as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m edgepareto.agent.worker", description=__doc__)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--provider", required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--engines", type=Path, help="folder of what was made of the model before")
    parser.add_argument("--job", required=True, metavar="CANDIDATE/PURPOSE/ATTEMPT")
    parser.add_argument("--board", type=Path, help="folder of a simulated board")
    parser.add_argument("--cpus", help="run only on these, as 1,2,3")
    return parser.parse_args(argv)


def serve(arguments: argparse.Namespace, *, store: Path | None = None) -> int:
    """Answer until stdin ends. store: nothing outside of this folder is opened; None: anything may be."""
    faulthandler.enable()  # what a crash in a library says goes to stderr, for the agent's message
    options = RuntimeOptions(
        name=arguments.runtime,
        threads=arguments.threads,
        provider=arguments.provider,
        precision=arguments.precision,
        engines=arguments.engines,
    )
    process.offer_to_the_oom_killer()
    process.give_up_rights(makes_engines=options.makes_engines)
    if arguments.cpus:
        process.run_on([int(cpu) for cpu in arguments.cpus.split(",")])
    replies = _take_stdout()

    # After the affinity is set: importing numpy starts threads.
    from edgepareto.agent.worker.model_runs import ModelRuns

    try:
        _check_place(store, arguments.board, arguments.engines)
        runtime = open_runtime(options, board=arguments.board, job=arguments.job)
    except WorkerError as error:
        _send(replies, Failed(status=error.status, message=str(error)))
        return 1
    process.limit_memory(threads=options.threads, provider=options.provider)
    model = ModelRuns(runtime, open_clock(arguments.board))
    _send(replies, Ready())
    for line in sys.stdin:
        _send(replies, _answer(model, decode_command(line), store))
    return 0


def _answer(model: ModelRuns, command: Command, store: Path | None) -> Reply:
    try:
        if isinstance(command, MakeEngine):
            _check_place(store, Path(command.model), Path(command.inputs))
            return model.make_engine(command)
        if isinstance(command, ReadEngine):
            return model.read_engine(command)
        if isinstance(command, Load):
            _check_place(store, Path(command.model), Path(command.inputs))
            return model.load(command)
        if isinstance(command, Check):
            _check_place(store, Path(command.expected))
            return model.check(command)
        if isinstance(command, WarmUp):
            return model.warm_up(command)
        if isinstance(command, Block):
            return model.block(command)
        if isinstance(command, Window):
            return model.window(command)
        if isinstance(command, TimeOperators):
            return model.time_operators(command)
        if isinstance(command, Outputs):
            return model.compute_outputs(command)
        if isinstance(command, PackedOutputs):
            return model.packed_outputs(command)
        assert isinstance(command, Memory)
        return process.memory_used()
    except WorkerError as error:
        return Failed(status=error.status, message=str(error))
    except MemoryError as error:
        reason = f": {error}" if str(error) else ""  # a bare MemoryError has none
        return Failed(status=Status.OOM, message=f"the worker ran out of memory{reason}")


def _check_place(store: Path | None, *paths: Path | None) -> None:
    for path in paths:
        if store is not None and path is not None and not path.resolve().is_relative_to(store.resolve()):
            raise WorkerError(
                Status.LOAD_FAILED,
                f"{path} is not below {store}, the only folder that edgepareto-worker@.service opens",
            )


def _take_stdout() -> IO[str]:
    """Our answers go to the real stdout; whatever a library prints goes to stderr, out of the protocol's way."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


def _send(replies: IO[str], reply: Reply) -> None:
    replies.write(encode(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    sys.exit(main())
