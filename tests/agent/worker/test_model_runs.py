"""The protocol of one worker, on a clock that only a run moves, so that every count is known."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime import Engine, OperatorCost, RuntimeUsed
from edgepareto.agent.worker.model_runs import ModelRuns
from edgepareto.agent.worker.protocol import (
    Block,
    Check,
    EngineMade,
    Load,
    MakeEngine,
    ReadEngine,
    TimeOperators,
    WarmUp,
    Window,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

Feed = Mapping[str, NDArray[np.generic]]
MS = 1_000_000


class SteppedClock:
    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)

    def start_batch(self) -> None:
        self.ns = 0


class Doubling:
    """A runtime whose model gives y = 2 x and takes a fixed time."""

    def __init__(self, clock: SteppedClock, run_ns: int) -> None:
        self.clock, self.run_ns = clock, run_ns
        self.fed: list[float] = []

    def load(self, model: Path) -> RuntimeUsed:
        self.clock.ns += 40 * MS
        return RuntimeUsed(name="doubling", version="1", provider="none", threads=1, options={})

    def outputs(self, feed: Feed) -> dict[str, NDArray[np.generic]]:
        return {"y": np.asarray(feed["x"], dtype=np.float32) * 2}

    def run(self, feed: Feed) -> None:
        self.fed.append(float(feed["x"].flat[0]))
        self.clock.ns += self.run_ns

    def time_operators(self, feeds: Sequence[Feed]) -> tuple[OperatorCost, ...]:
        for feed in feeds:
            self.run(feed)
        return (OperatorCost(name="double", op_type="Mul", total_ns=self.run_ns * len(feeds)),)


def loaded(folder: Path, run_ms: float = 2.0, rows: int = 3) -> tuple[ModelRuns, Doubling]:
    clock = SteppedClock()
    runtime = Doubling(clock, int(run_ms * MS))
    x = np.arange(1, rows + 1, dtype=np.float32).reshape(rows, 1, 1) * np.ones((1, 1, 4), np.float32)
    np.savez(folder / "inputs.npz", x=x)
    np.savez(folder / "expected.npz", y=2 * x)
    model = ModelRuns(runtime, clock)
    done = model.load(Load(model="m.onnx", inputs=str(folder / "inputs.npz")))
    assert (done.load_ns, done.first_run_ns) == (40 * MS, int(run_ms * MS))
    return model, runtime


@pytest.mark.parametrize(("run_ms", "runs"), [(2.0, 50), (2.5, 40), (30.0, 10), (7.0, 15)])
def test_a_block_lasts_its_seconds_and_its_runs_and_no_run_longer(run_ms: float, runs: int, tmp_path: Path) -> None:
    model, _ = loaded(tmp_path, run_ms)
    block = model.block(Block(seconds=0.1, runs=10))
    assert block.run_ns == (int(run_ms * MS),) * runs
    assert block.start_ns == 40 * MS + int(run_ms * MS)


def test_a_window_has_its_edges_on_inference_boundaries_between_two_guards(tmp_path: Path) -> None:
    model, runtime = loaded(tmp_path, run_ms=3.0)
    window = model.window(Window(guard_s=0.25, window_s=1.0, inferences=30))
    start_ns = (40 + 3 + 252) * MS  # load, first run, the first whole run after the guard's end
    assert (window.start_ns, window.end_ns, window.inferences) == (start_ns, start_ns + 1002 * MS, 334)
    assert runtime.clock.ns >= window.end_ns + 250 * MS
    slow, _ = loaded(tmp_path, run_ms=100.0)
    assert slow.window(Window(guard_s=0.25, window_s=1.0, inferences=30)).inferences == 30


def test_the_sample_rows_are_cycled_over_all_runs_since_loading(tmp_path: Path) -> None:
    model, runtime = loaded(tmp_path)
    model.warm_up(WarmUp(seconds=0, runs=3))
    model.block(Block(seconds=0, runs=3))
    assert runtime.fed == [1, 2, 3, 1, 2, 3, 1]


def test_operators_are_timed_on_the_sample_rows_in_turn_without_moving_those_of_the_blocks(tmp_path: Path) -> None:
    model, runtime = loaded(tmp_path)
    timed = model.time_operators(TimeOperators(runs=4))
    assert (timed.runs, timed.operators[0].total_ns) == (4, 8 * MS)
    model.block(Block(seconds=0, runs=1))
    assert runtime.fed == [1, 1, 2, 3, 1, 2]


def test_the_largest_difference_of_all_rows_decides_on_the_outputs(tmp_path: Path) -> None:
    model, _ = loaded(tmp_path)
    expected = tmp_path / "expected.npz"
    check = Check(expected=str(expected), relative_tolerance=1e-3)
    assert model.check(check).output_error == 0.0
    y = np.load(expected)["y"]
    y[2, 0, 3] += 0.003  # the last row, of largest value 6
    np.savez(expected, y=y)
    assert model.check(check).output_error == pytest.approx(0.003 / 6.003, rel=1e-3)
    with pytest.raises(WorkerError, match=r"y differs .* by 0\.0005 .* 3 samples, allowed 0\.0001") as caught:
        model.check(Check(expected=str(expected), relative_tolerance=1e-4))
    assert caught.value.status is Status.OUTPUT_MISMATCH


@pytest.mark.parametrize(
    "expected", [{"z": np.zeros(3)}, {"y": np.zeros((3, 4))}, {"y": np.full((3, 1, 4), np.nan)}, {}]
)
def test_other_names_shapes_and_values_that_are_no_numbers_never_pass(
    expected: dict[str, NDArray[np.float64]], tmp_path: Path
) -> None:
    model, _ = loaded(tmp_path)
    np.savez(tmp_path / "other.npz", **expected)
    with pytest.raises(WorkerError) as caught:
        model.check(Check(expected=str(tmp_path / "other.npz"), relative_tolerance=1e9))
    assert caught.value.status is Status.OUTPUT_MISMATCH


@pytest.mark.parametrize("inputs", [{}, {"x": np.zeros(0)}, {"x": np.zeros((2, 1)), "y": np.zeros((3, 1))}])
def test_sample_inputs_without_equal_rows_are_refused(inputs: dict[str, NDArray[np.float64]], tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", **inputs)
    clock = SteppedClock()
    with pytest.raises(WorkerError, match="sample inputs"):
        ModelRuns(Doubling(clock, MS), clock).load(Load(model="m.onnx", inputs=str(tmp_path / "inputs.npz")))


def test_a_file_that_is_no_npz_is_a_verdict_and_is_never_unpickled(tmp_path: Path) -> None:
    model, _ = loaded(tmp_path)
    np.savez(tmp_path / "pickled.npz", y=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 broken")
    for name in ("pickled.npz", "broken.npz", "missing.npz"):
        with pytest.raises(WorkerError, match=name) as caught:
            model.check(Check(expected=str(tmp_path / name), relative_tolerance=1.0))
        assert caught.value.status is Status.LOAD_FAILED


@given(seconds=st.floats(0, 0.2), runs=st.integers(0, 50), run_ms=st.floats(0.1, 20))
def test_every_block_reaches_both_minima_and_its_runs_add_up(
    seconds: float, runs: int, run_ms: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, runtime = loaded(tmp_path_factory.mktemp("b"), run_ms)
    block = model.block(Block(seconds=seconds, runs=runs))
    assert len(block.run_ns) >= runs
    assert sum(block.run_ns) >= int(seconds * 1e9)
    assert block.start_ns + sum(block.run_ns) == runtime.clock.ns


def test_a_runtime_that_makes_no_engines_says_that_none_is_needed(tmp_path: Path) -> None:
    runs, _ = loaded(tmp_path)
    assert runs.make_engine(MakeEngine(model="model", inputs=str(tmp_path / "inputs.npz"))) == EngineMade()


def test_what_building_an_engine_takes_is_told_and_it_is_read_piece_by_piece(tmp_path: Path) -> None:
    clock = SteppedClock()
    runs = ModelRuns(Compiling(clock, run_ns=MS), clock)
    np.savez(tmp_path / "inputs.npz", x=np.ones((2, 1), dtype=np.float32))
    made = runs.make_engine(MakeEngine(model="model", inputs=str(tmp_path / "inputs.npz")))
    assert made == EngineMade(kind="k", size_bytes=6, build_ns=700 * MS)
    assert base64.b64decode(runs.read_engine(ReadEngine(offset=2)).base64) == b"gine"
    assert runs.read_engine(ReadEngine(offset=6)).base64 == ""


class Compiling(Doubling):
    def make_engine(self, model: Path, feed: Feed) -> Engine:
        self.clock.ns += 700 * MS
        return Engine(kind="k", size_bytes=6, content=io.BytesIO(b"engine"))
