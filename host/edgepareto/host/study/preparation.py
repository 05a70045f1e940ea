"""Candidates prepared side by side, in processes of one BLAS thread each: OpenBLAS gives other bits with two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict
from queue import SimpleQueue
from types import TracebackType

from edgepareto.host import errors
from edgepareto.host.accuracy import Score
from edgepareto.host.domain import Candidate, CandidateId, Genome, Recipe
from edgepareto.host.errors import EdgeParetoError, Failed
from edgepareto.host.study.evaluate_candidate import EvaluationTask

__all__ = ["Preparation"]

# Not -m: it looks in the current folder first, where a file of the user's would hide a module (3.10 has no -P).
PREPARER = """\
import sys
sys.path[:] = filter(None, sys.path)
from edgepareto.host.study.preparer import main
main()
"""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

Answer = dict[str, object]
Wanted = tuple[CandidateId, Genome, Recipe]


class Preparation:
    """Prepares candidates and scores finalists. Use as a context manager; its processes start with the first request.

    They end with the block, and by themselves when this process dies.
    """

    def __init__(self, task: EvaluationTask, workers: int) -> None:
        self._task = task
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="preparation")
        self._idle: SimpleQueue[_Process | None] = SimpleQueue()
        self._started: list[_Process] = []
        self._closed = False
        for _ in range(workers):
            self._idle.put(None)  # a process not started yet

    def __enter__(self) -> Preparation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._started:
            process.kill()  # its thread, if one waits for an answer, then reads the end
        self._threads.shutdown(wait=True)
        for process in self._started:
            process.close()

    def candidates(self, wanted: Sequence[Wanted], on_ready: Callable[[Candidate], None]) -> None:
        """Prepare all; `on_ready` is called in this thread, for each as soon as it is there.

        Raises what loading the model or data raised, StoreError for a full disk, Failed for a dead process.
        """
        requests: list[Answer] = [
            {"id": name, "widths": genome.widths, "recipe": asdict(recipe)} for name, genome, recipe in wanted
        ]
        waiting = {self._threads.submit(self._ask, request) for request in requests}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    on_ready(_candidate(future.result()))
        finally:
            for future in waiting:
                future.cancel()

    def test_scores(self, sha256s: Sequence[str]) -> dict[str, Score]:
        """The test split's score of stored models. Raises as `candidates`, and EvaluationError."""
        futures = {sha256: self._threads.submit(self._ask, {"test": sha256}) for sha256 in sha256s}
        return {sha256: _score(future.result()) for sha256, future in futures.items()}

    def _ask(self, request: Answer) -> Answer:
        process = self._idle.get()
        try:
            if process is None:
                process = _Process()
                self._started.append(process)
                if self._closed:
                    process.kill()
                process.ask(self._task.to_json())
            return process.ask(json.dumps(request))
        finally:
            self._idle.put(process)


class _Process:
    """One preparer."""

    def __init__(self) -> None:
        paths = [path for path in sys.path if path]  # a user's metric or loader is found there as here
        self._process = subprocess.Popen(
            [sys.executable, "-c", PREPARER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # out of reach of the terminal's Ctrl-C
            env={**os.environ, **dict.fromkeys(THREAD_SETTINGS, "1"), "PYTHONPATH": os.pathsep.join(paths)},
        )

    def ask(self, line: str) -> Answer:
        """Raises Failed where the process is gone, and the error it answered with."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            text = self._process.stdout.readline()
        except (OSError, ValueError) as error:  # a broken pipe, or one that `end` closed
            raise self._gone() from error
        if not text:
            raise self._gone()
        answer: Answer = json.loads(text)
        if "error" in answer:
            raise _error(str(answer["error"]), str(answer["message"]))
        return answer

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """After `kill`, when no thread asks any more."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was not flushed has nowhere to go
                    pipe.close()

    def _gone(self) -> Failed:
        code = self._process.wait()
        return Failed(f"a process that prepares candidates ended (exit code {code}); go on with --resume")


def _error(name: str, message: str) -> EdgeParetoError:
    kind = getattr(errors, name, Failed)
    return kind(message) if isinstance(kind, type) and issubclass(kind, EdgeParetoError) else Failed(message)


def _score(answer: Answer) -> Score:
    return Score(value=float(str(answer["score"])), hits=_hits(answer["hits"]))


def _hits(text: object) -> bytes | None:
    return None if text is None else bytes.fromhex(str(text))


def _candidate(answer: Answer) -> Candidate:
    genome, recipe = answer["genome"], answer["recipe"]
    assert isinstance(genome, dict)
    assert isinstance(recipe, dict)
    fields = {**answer, "genome": Genome(widths=tuple(genome["widths"])), "recipe": Recipe(**recipe)}
    fields["validation_hits"] = _hits(answer["validation_hits"])
    return Candidate(**fields)  # type: ignore[arg-type]  # our own asdict, read back
