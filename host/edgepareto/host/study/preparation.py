"""Processes that make and score candidates, of one BLAS thread each: OpenBLAS gives other bits with two.

What is to be made is taken first, in the order it was given: a board waits for it. A score that a board waits for is
taken as soon as a process is free.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from threading import Condition, Lock
from types import TracebackType
from typing import TypeVar

from edgepareto.host import errors
from edgepareto.host.accuracy import Score
from edgepareto.host.domain import Candidate, CandidateId, Deployment, Genome, Recipe
from edgepareto.host.errors import EdgeParetoError, Failed
from edgepareto.host.study.evaluate_candidate import EvaluationTask, Split

__all__ = ["Preparation", "Preparer"]

# Not -m: it looks in the current folder first, where a file of the user's would hide a module (3.10 has no -P).
PREPARER = """\
import sys
sys.path[:] = filter(None, sys.path)
from edgepareto.host.study.preparer import main
main()
"""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

OF_THE_PRUNED_MODEL = ("macs", "parameters", "model_sha256")

Answer = dict[str, object]
Result = TypeVar("Result")


class Preparation:
    """A pool of preparers. Use as a context manager; each process starts with the first work it is given.

    They end with the block, and by themselves when this process dies. Work that was not begun is then cancelled.
    """

    def __init__(self, task: EvaluationTask, workers: int) -> None:
        self._preparers = [Preparer(task) for _ in range(workers)]
        self._idle = list(reversed(self._preparers))
        self._makes_waiting = 0
        self._change = Condition()
        # Threads for each kind, so that each is taken in the order given; one without a preparer waits for one.
        self._makers = ThreadPoolExecutor(workers, thread_name_prefix="make")
        self._scorers = ThreadPoolExecutor(workers, thread_name_prefix="score")

    def __enter__(self) -> Preparation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in (self._makers, self._scorers):
            pool.shutdown(wait=False, cancel_futures=True)
        for preparer in self._preparers:
            preparer.kill()  # its thread, if one waits for an answer, then reads the end
        for pool in (self._makers, self._scorers):
            pool.shutdown(wait=True)
        for preparer in self._preparers:
            preparer.close()

    def make(self, do: Callable[[Preparer], Result]) -> Future[Result]:
        """`do` is called in a thread of the pool with a preparer of its own, before anything that `score` was given."""
        with self._change:
            self._makes_waiting += 1
        future = self._makers.submit(self._making, do)
        future.add_done_callback(self._forget_cancelled)
        return future

    def score(
        self, made: Future[None], do: Callable[[Preparer], Result], *, is_awaited: bool = False
    ) -> Future[Result]:
        """As `make`, once `made` is there and nothing waits to be made, or a board awaits it. Raises what `made`
        raises."""
        return self._scorers.submit(self._scoring, made, do, is_awaited)

    def _making(self, do: Callable[[Preparer], Result]) -> Result:
        with self._change:
            self._change.wait_for(lambda: self._idle)
            self._makes_waiting -= 1
            preparer = self._idle.pop()
        try:
            return do(preparer)
        finally:
            self._give_back(preparer)

    def _scoring(self, made: Future[None], do: Callable[[Preparer], Result], is_awaited: bool) -> Result:
        made.result()
        with self._change:
            self._change.wait_for(lambda: len(self._idle) > (0 if is_awaited else self._makes_waiting))
            preparer = self._idle.pop()
        try:
            return do(preparer)
        finally:
            self._give_back(preparer)

    def _give_back(self, preparer: Preparer) -> None:
        with self._change:
            self._idle.append(preparer)
            self._change.notify_all()

    def _forget_cancelled(self, future: Future[Result]) -> None:
        if future.cancelled():
            with self._change:
                self._makes_waiting -= 1
                self._change.notify_all()


class Preparer:
    """One process, started by the first request. One thread at a time; `kill` may come from another."""

    def __init__(self, task: EvaluationTask) -> None:
        self._task = task
        self._process: subprocess.Popen[str] | None = None
        self._ended = False
        self._starting = Lock()  # so that no process is started after `kill`

    def make(
        self, candidate: CandidateId, genome: Genome, recipe: Recipe, pruned: Candidate | None = None
    ) -> Candidate:
        """pruned: the same channels by the same recipe, made before; then only the format is missing.

        Raises what loading the model or data raised, StoreError for a full disk, Failed for a dead process."""
        request = {"make": candidate, "recipe": asdict(recipe), **asdict(genome)}
        if pruned is not None:
            request["pruned"] = {name: getattr(pruned, name) for name in OF_THE_PRUNED_MODEL}
        answer = self._ask(request)
        return Candidate(**{**answer, "genome": genome, "recipe": recipe})  # type: ignore[arg-type]  # asdict, read back

    def score(self, sha256: str, way: Deployment, split: Split) -> Score:
        """Of a made model. Raises as `make`, and EvaluationError."""
        answer = self._ask({"score": sha256, "deployment": asdict(way), "split": split.value})
        hits, divergence = answer["hits"], answer["divergence"]
        return Score(
            value=float(str(answer["score"])),
            hits=None if hits is None else bytes.fromhex(str(hits)),
            divergence=None if divergence is None else float(str(divergence)),
        )

    def kill(self) -> None:
        with self._starting:
            self._ended = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """After `kill`, when no thread asks any more."""
        if self._process is None:
            return
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was not flushed has nowhere to go
                    pipe.close()

    def _ask(self, request: Answer) -> Answer:
        """Raises Failed where the process is gone, and the error it answered with."""
        if self._process is None:
            with self._starting:
                if self._ended:
                    raise Failed("candidates are no longer prepared: the search is ending")
                self._process = _started()
            _exchange(self._process, self._task.to_json())
        return _exchange(self._process, json.dumps(request))


def _started() -> subprocess.Popen[str]:
    paths = [path for path in sys.path if path]  # a user's metric or loader is found there as here
    return subprocess.Popen(
        [sys.executable, "-c", PREPARER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # out of reach of the terminal's Ctrl-C
        env={**os.environ, **dict.fromkeys(THREAD_SETTINGS, "1"), "PYTHONPATH": os.pathsep.join(paths)},
    )


def _exchange(process: subprocess.Popen[str], line: str) -> Answer:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        text = process.stdout.readline()
    except (OSError, ValueError) as error:  # a broken pipe, or one that `close` closed
        raise _gone(process) from error
    if not text:
        raise _gone(process)
    answer: Answer = json.loads(text)
    if "error" in answer:
        raise _error(str(answer["error"]), str(answer["message"]))
    return answer


def _gone(process: subprocess.Popen[str]) -> Failed:
    code = process.wait()
    return Failed(f"a process that prepares candidates ended (exit code {code}); go on with --resume")


def _error(name: str, message: str) -> EdgeParetoError:
    kind = getattr(errors, name, Failed)
    return kind(message) if isinstance(kind, type) and issubclass(kind, EdgeParetoError) else Failed(message)
