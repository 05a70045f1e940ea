"""One model and its sample inputs in the worker: checked, warmed up, run in blocks and windows. Knows no pipes."""

from __future__ import annotations

import base64
import gc
import itertools
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from edgepareto.agent.clock import Clock
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.runtime import EngineMaker, Runtime
from edgepareto.agent.worker.kept_outputs import KeptOutputs
from edgepareto.agent.worker.protocol import (
    Block,
    BlockDone,
    Check,
    Checked,
    EngineMade,
    EnginePart,
    Load,
    Loaded,
    MakeEngine,
    OperatorsTimed,
    OutputPiece,
    Outputs,
    OutputsComputed,
    PackedOutputs,
    ReadEngine,
    TimeOperators,
    WarmedUp,
    WarmUp,
    Window,
    WindowDone,
)
from numpy.typing import NDArray

__all__ = ["ModelRuns"]

Arrays = Mapping[str, NDArray[np.generic]]
Feed = dict[str, NDArray[np.generic]]
_PART_BYTES = 4 << 20  # of an engine in one line
_TINY = float(np.finfo(np.float32).tiny)  # an expected output of zeros must not divide by zero


@dataclass(frozen=True, slots=True)
class _Stamps:
    """Inference boundaries: run i lasts from ns[i] to ns[i + 1]."""

    ns: list[int]

    @property
    def runs(self) -> int:
        return len(self.ns) - 1


class ModelRuns:
    """Every method but `load` and those of the engine needs `load` first. Inputs are cycled row by row over all runs
    since then.

    Raises WorkerError with the verdict.
    """

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._rows: list[Feed] = []
        self._next_row: Callable[[], Feed] | None = None
        self._kept: KeptOutputs | None = None
        self._engine: IO[bytes] | None = None

    def make_engine(self, command: MakeEngine) -> EngineMade:
        """build_ns is the runtime's alone, of a kept one that did not fit with what came to nothing."""
        if not isinstance(self._runtime, EngineMaker):
            return EngineMade()
        row = _rows(_arrays(Path(command.inputs)))[0]
        start_ns = self._clock.now_ns()
        engine = self._runtime.make_engine(Path(command.model), row)
        if engine is None:
            return EngineMade()
        build_ns = self._clock.now_ns() - start_ns
        self._engine = engine.content
        return EngineMade(kind=engine.kind, size_bytes=engine.size_bytes, build_ns=build_ns)

    def read_engine(self, command: ReadEngine) -> EnginePart:
        assert self._engine is not None, "make_engine comes first"
        self._engine.seek(command.offset)
        return EnginePart(base64=base64.b64encode(self._engine.read(_PART_BYTES)).decode("ascii"))

    def load(self, command: Load) -> Loaded:
        """load_ns is the runtime's alone; reading the inputs is not in it."""
        start_ns = self._clock.now_ns()
        used = self._runtime.load(Path(command.model))
        load_ns = self._clock.now_ns() - start_ns
        self._rows = _rows(_arrays(Path(command.inputs)))
        self._next_row = itertools.cycle(self._rows).__next__
        gc.collect()
        gc.freeze()  # what the libraries made stays out of the collections before each block
        stamps = self._run(0, 1)
        return Loaded(runtime=used, load_ns=load_ns, first_run_ns=stamps.ns[1] - stamps.ns[0])

    def check(self, command: Check) -> Checked:
        """Raises OUTPUT_MISMATCH with the value seen and the value allowed."""
        expected = _arrays(Path(command.expected))
        seen = [self._runtime.outputs(row) for row in self._rows]
        name, error = max(
            ((name, _relative_error(name, [row[name] for row in seen], expected)) for name in seen[0]),
            key=lambda pair: pair[1],
        )
        if error > command.relative_tolerance:
            raise WorkerError(
                Status.OUTPUT_MISMATCH,
                f"output {name} differs from the expected one by {error:.3g} of its largest value over "
                f"{len(seen)} samples, allowed {command.relative_tolerance:.3g}; it computes something else here",
            )
        return Checked(output_error=error)

    def warm_up(self, command: WarmUp) -> WarmedUp:
        return WarmedUp(runs=self._run(command.seconds, command.runs).runs)

    def block(self, command: Block) -> BlockDone:
        stamps = self._run(command.seconds, command.runs)
        run_ns = tuple(end - start for start, end in itertools.pairwise(stamps.ns))
        return BlockDone(start_ns=stamps.ns[0], run_ns=run_ns)

    def window(self, command: Window) -> WindowDone:
        """The guards run the same load, so that the meter's averaging sees nothing else at the edges."""
        self._run(command.guard_s, 1)
        stamps = self._run(command.window_s, command.inferences)
        self._run(command.guard_s, 1)
        return WindowDone(start_ns=stamps.ns[0], end_ns=stamps.ns[-1], inferences=stamps.runs)

    def time_operators(self, command: TimeOperators) -> OperatorsTimed:
        rows = itertools.cycle(self._rows)
        timed = self._runtime.time_operators(list(itertools.islice(rows, command.runs)))
        return OperatorsTimed(runs=command.runs, operators=timed)

    def compute_outputs(self, command: Outputs) -> OutputsComputed:
        if self._kept is None:
            self._kept = KeptOutputs(len(self._rows))
        end = min(command.first + command.rows, len(self._rows))
        for place in range(command.first, end):
            self._kept.keep(place, self._runtime.outputs(self._rows[place]))
        return OutputsComputed(rows=end - command.first, rows_left=len(self._rows) - end)

    def packed_outputs(self, command: PackedOutputs) -> OutputPiece:
        assert self._kept is not None, "compute_outputs comes first"
        packed = self._kept.packed()
        piece = packed[command.start : command.start + command.size_bytes]
        left_bytes = len(packed) - command.start - len(piece)
        return OutputPiece(base64=base64.b64encode(piece).decode("ascii"), left_bytes=left_bytes)

    def _run(self, seconds: float, runs: int) -> _Stamps:
        """Back to back for at least `seconds` and at least `runs` runs, with the garbage collector off."""
        assert self._next_row is not None, "load comes first"
        now, run, next_row = self._clock.now_ns, self._runtime.run, self._next_row
        gc.collect()
        gc.disable()
        try:
            stamps = [now()]
            until_ns = stamps[0] + int(seconds * 1e9)
            while stamps[-1] < until_ns or len(stamps) <= runs:
                run(next_row())
                stamps.append(now())
        finally:
            gc.enable()
        return _Stamps(stamps)


def _arrays(path: Path) -> Feed:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file):  # np.load would take other formats as well
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise WorkerError(Status.LOAD_FAILED, f"{path.name} is not a readable .npz file: {error}") from error


def _rows(inputs: Arrays) -> list[Feed]:
    counts = {name: len(array) if array.ndim else 0 for name, array in inputs.items()}
    count = min(counts.values(), default=0)
    if count == 0 or count != max(counts.values()):
        raise WorkerError(
            Status.LOAD_FAILED, f"the sample inputs have {counts or 'no'} rows; every input needs the same number, >= 1"
        )
    return [{name: np.array(array[row], order="C") for name, array in inputs.items()} for row in range(count)]


def _relative_error(name: str, seen: Sequence[NDArray[np.generic]], expected: Arrays) -> float:
    """max |seen - expected| / max |expected| over all rows; inf where a value is not finite. Raises OUTPUT_MISMATCH."""
    wanted = expected.get(name)
    shape = (len(seen), *seen[0].shape)
    if wanted is None or wanted.shape != shape:
        told = f"has shape {shape}, expected {wanted.shape}" if wanted is not None else "is not among the expected ones"
        raise WorkerError(Status.OUTPUT_MISMATCH, f"output {name} {told}; the model is another one than the host's")
    largest = difference = 0.0
    for row, values in zip(wanted, seen, strict=True):
        a, b = np.asarray(values, dtype=np.float64), np.asarray(row, dtype=np.float64)
        if a.size:
            difference = float(np.maximum(difference, np.max(np.abs(a - b))))  # keeps a nan, which max() may lose
            largest = float(np.maximum(largest, np.max(np.abs(b))))
    error = difference / max(largest, _TINY)
    return error if math.isfinite(error) else math.inf
