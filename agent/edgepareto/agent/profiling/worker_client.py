"""The agent's end of a worker: a command, a deadline on service time, a typed answer or the worker's verdict."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.runtime import RuntimeOptions
from edgepareto.agent.worker.admission import WORKER_MODULE
from edgepareto.agent.worker.child import Child, ChildGone, ChildSilent
from edgepareto.agent.worker.json_fields import MalformedMessage
from edgepareto.agent.worker.protocol import (
    Block,
    BlockDone,
    Check,
    Checked,
    Command,
    EngineMade,
    EnginePart,
    Failed,
    Load,
    Loaded,
    MakeEngine,
    Memory,
    MemoryUsed,
    OperatorsTimed,
    OutputPiece,
    Outputs,
    OutputsComputed,
    PackedOutputs,
    ReadEngine,
    Ready,
    Reply,
    TimeOperators,
    WarmedUp,
    WarmUp,
    Window,
    WindowDone,
    decode_reply,
    encode,
)
from edgepareto.agent.worker.spawner import Spawn

__all__ = ["DEADLINE", "Deadline", "WorkerClient", "worker_command"]

START_S = 10.0  # expected at most on the slowest board: to import the libraries, or to load the model and run it once
BUILD_S = 75.0  # of an engine, on a Jetson; its deadline is below a host's for one step (900 s at least)
PROFILE_SLOWDOWN = 2  # of a run whose nodes are written down: a generous guess, for the deadline only
CHECKED_ROWS = 100  # sample rows whose outputs are compared: a generous guess, for the deadline only

# How often the worker's memory is looked at while it works. Rare and short beside the wait's own looks, in the agent's
# thread and not the worker's: what it does to the run that it meets is far below that run's scatter.
LOOK_AT_MEMORY_S = 1.0

_Answer = TypeVar("_Answer", bound=Reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """How long a command may take in service time: far more than expected, because missing it costs the candidate."""

    factor: float = 10.0
    slack_s: float = 30.0

    def of(self, expected_s: float) -> float:
        return self.factor * expected_s + self.slack_s


DEADLINE = Deadline()


def worker_command(
    runtime: RuntimeOptions, *, job: str, simulation: Path | None, cpus: Sequence[int] | None
) -> tuple[str, ...]:
    command = [sys.executable, "-m", WORKER_MODULE, "--runtime", runtime.name]
    command += ["--threads", str(runtime.threads), "--provider", runtime.provider]
    command += ["--precision", runtime.precision, "--job", job]
    if runtime.engines is not None:
        command += ["--engines", str(runtime.engines.absolute())]
    if simulation is not None:
        command += ["--board", str(simulation.absolute())]
    if cpus:
        command += ["--cpus", ",".join(map(str, cpus))]
    return tuple(command)


class WorkerClient:
    """A worker that is starting from now on. Every method raises WorkerError with the verdict and ends the worker then,
    except where the worker itself refuses the model; Cancelled passes through. So does making one that cannot start.

    takes_too_much: why the process of this id must end for want of memory, or None. Asked while the worker works.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        spawn: Spawn,
        deadline: Deadline,
        cancelled: Callable[[], bool],
        takes_too_much: Callable[[int], str | None] = lambda pid: None,
    ) -> None:
        try:
            self._child: Child = spawn(command)
        except ChildGone as error:
            raise WorkerError(Status.WORKER_CRASHED, str(error)) from error
        self._deadline = deadline
        self._cancelled = cancelled
        self._takes_too_much = takes_too_much
        self._look_at_memory_s = 0.0
        self._run_s = 0.0

    @property
    def pid(self) -> int | None:
        """None: not told yet; see Child."""
        return self._child.pid

    @property
    def ended_ticks(self) -> int:
        """See Child."""
        return self._child.ended_ticks

    def wait_until_ready(self) -> None:
        self._receive("start", Ready, START_S)

    def make_engine(self, command: MakeEngine) -> EngineMade:
        return self._ask(command, EngineMade, BUILD_S)

    def read_engine(self, size_bytes: int) -> Iterator[bytes]:
        """What was made, piece by piece: of a worker that tells another size at most one piece too much."""
        offset = 0
        while offset < size_bytes:
            told = self._ask(ReadEngine(offset=offset), EnginePart, 0).base64
            try:
                piece = base64.b64decode(told, validate=True)
            except ValueError as error:
                raise self._broken("ReadEngine", error) from error
            if not piece:
                return
            offset += len(piece)
            yield piece

    def load(self, command: Load) -> Loaded:
        loaded = self._ask(command, Loaded, START_S)
        self._run_s = loaded.first_run_ns * 1e-9
        return loaded

    def check(self, command: Check) -> Checked:
        return self._ask(command, Checked, START_S + CHECKED_ROWS * self._run_s)

    def warm_up(self, command: WarmUp) -> WarmedUp:
        return self._ask(command, WarmedUp, self._expected_s(command.seconds, command.runs))

    def block(self, command: Block) -> BlockDone:
        return self._ask(command, BlockDone, self._expected_s(command.seconds, command.runs))

    def window(self, command: Window) -> WindowDone:
        guards_s = 2 * self._expected_s(command.guard_s, 1)
        return self._ask(command, WindowDone, guards_s + self._expected_s(command.window_s, command.inferences))

    def time_operators(self, command: TimeOperators) -> OperatorsTimed:
        """The model is loaded once more, and the runtime writes down every node of every run."""
        return self._ask(command, OperatorsTimed, START_S + PROFILE_SLOWDOWN * command.runs * self._run_s)

    def compute_outputs(self, command: Outputs) -> OutputsComputed:
        return self._ask(command, OutputsComputed, START_S)

    def packed_outputs(self, command: PackedOutputs) -> OutputPiece:
        return self._ask(command, OutputPiece, 0)

    def memory(self) -> MemoryUsed:
        return self._ask(Memory(), MemoryUsed, 0)

    def kill(self) -> None:
        self._child.kill()

    def _expected_s(self, seconds: float, runs: int) -> float:
        return max(seconds, runs * self._run_s)

    def _ask(self, command: Command, answer: type[_Answer], expected_s: float) -> _Answer:
        doing = type(command).__name__
        try:
            self._child.send(encode(command))
        except ChildGone as error:
            raise self._crashed(doing, error) from error
        return self._receive(doing, answer, expected_s)

    def _receive(self, doing: str, answer: type[_Answer], expected_s: float) -> _Answer:
        timeout_s = self._deadline.of(expected_s)
        self._look_at_memory_s = time.monotonic() + LOOK_AT_MEMORY_S
        try:
            reply = decode_reply(self._child.receive(timeout_s, lambda: self._called_off(doing)))
            if isinstance(reply, Failed) and reply.status is not Status.OK:
                raise WorkerError(reply.status, reply.message)
            if not isinstance(reply, answer):
                raise MalformedMessage(f"{type(reply).__name__} instead of {answer.__name__}")
            return reply
        except ChildSilent as error:
            self.kill()
            raise WorkerError(
                Status.TIMEOUT,
                f"the worker did not finish {doing} within {timeout_s:.1f} s (at most {expected_s:.1f} s expected) and "
                "was killed; the model is too slow for this board or hangs",
            ) from error
        except ChildGone as error:
            raise self._crashed(doing, error) from error
        except MalformedMessage as error:
            raise self._broken(doing, error) from error

    def _called_off(self, doing: str) -> bool:
        """Raises WorkerError(OOM) where the worker takes what the board needs."""
        now_s = time.monotonic()
        if self.pid is not None and now_s >= self._look_at_memory_s:
            self._look_at_memory_s = now_s + LOOK_AT_MEMORY_S
            reason = self._takes_too_much(self.pid)
            if reason is not None:
                self.kill()
                raise WorkerError(Status.OOM, f"the worker was killed at {doing}: {reason}")
        return self._cancelled()

    def _broken(self, doing: str, error: Exception) -> WorkerError:
        self.kill()
        return WorkerError(Status.WORKER_CRASHED, f"the worker broke the protocol at {doing}: {error}")

    def _crashed(self, doing: str, error: ChildGone) -> WorkerError:
        self.kill()
        if error.out_of_memory:
            return WorkerError(Status.OOM, f"the board ran out of memory at {doing}: {error}")
        return WorkerError(Status.WORKER_CRASHED, f"the worker crashed at {doing}: {error}")
