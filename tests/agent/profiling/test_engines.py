"""Engines in a batch, with real workers whose TensorRT is a stand-in: built once, by a deadline of their own."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from edgepareto.agent.engine_store import EngineStore
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.profiling import (
    Board,
    CandidateSpec,
    CandidateTrace,
    Deadline,
    OutputsDone,
    OutputsRequest,
    compute_outputs,
)
from edgepareto.agent.profiling.engine_build import build_engine
from edgepareto.agent.profiling.worker_client import BUILD_S, WorkerClient
from edgepareto.agent.worker import Child, spawn
from fakes.gpu_provider import TENSORRT, Gpu, use_in_workers, worker_command


@dataclass(frozen=True, slots=True, kw_only=True)
class Impatient(Deadline):
    """With builds alone."""

    build_s: float

    def of(self, expected_s: float) -> float:
        return self.build_s if expected_s == BUILD_S else Deadline.of(self, expected_s)


@pytest.fixture
def engines(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


@pytest.fixture
def board(bench, engines: EngineStore) -> Board:
    def start(argv: Sequence[str]) -> Child:
        return spawn(worker_command(argv))

    bench.start_worker = start
    return replace(bench.board(), engines=engines)


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def put_in(gpu: Gpu) -> None:
        use_in_workers(replace(gpu, log=str(tmp_path / "gpu.log")), monkeypatch.setenv)

    put_in(Gpu())
    return put_in


def on_tensorrt(spec: CandidateSpec) -> CandidateSpec:
    return replace(
        spec,
        runtime=replace(spec.runtime, provider=TENSORRT, precision="fp16"),
        model_sha256=hashlib.sha256(spec.model.read_bytes()).hexdigest(),
    )


def measured(
    bench, board: Board, *specs: CandidateSpec, deadline: Deadline | None = None
) -> tuple[CandidateTrace, ...]:
    anchor, *others = map(on_tensorrt, specs)
    return bench.measure(bench.request(anchor, *others), board, deadline=deadline)


def events(tmp_path: Path) -> Counter[str]:
    log = tmp_path / "gpu.log"
    seen = Counter(log.read_text().splitlines())
    log.unlink()
    return seen


@pytest.mark.usefixtures("with_gpu")
def test_an_engine_is_built_once_and_its_time_is_told_apart(bench, board: Board, tmp_path: Path):
    specs = bench.spec("anchor"), bench.spec("candidate", channels=3)
    first = measured(bench, board, *specs)
    assert [trace.status for trace in first] == [Status.OK] * 2, [trace.message for trace in first]
    assert all(trace.build_ns and trace.load_ns for trace in first)
    assert events(tmp_path)["built fp16"] == 2
    second = measured(bench, board, *specs)
    assert [trace.status for trace in second] == [Status.OK] * 2
    assert [trace.build_ns for trace in second] == [None, None]
    seen = events(tmp_path)
    assert seen["built fp16"] == 0
    assert seen["run from the host's memory"] == 0
    assert seen["run"] == seen["synchronised"] > 0
    assert {(step.stage, step.candidate_id) for step in bench.steps} >= {("build", "anchor"), ("build", "candidate")}


@pytest.mark.usefixtures("with_gpu")
def test_an_engine_that_the_disk_damaged_is_built_anew(bench, board: Board, engines: EngineStore, tmp_path: Path):
    spec = bench.spec("anchor")
    measured(bench, board, spec)
    (file,) = engines.of_model(on_tensorrt(spec).model_sha256).iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    (trace,) = measured(bench, board, spec)
    assert (trace.status, trace.build_ns is None) == (Status.OK, False)
    assert events(tmp_path)["built fp16"] == 2


def test_a_build_has_a_deadline_of_its_own_which_costs_that_candidate_alone(bench, board: Board, with_gpu):
    specs = bench.spec("anchor"), bench.spec("endless", channels=3)
    with_gpu(Gpu(hangs=specs[1].model.stat().st_size))
    anchor, endless = measured(bench, board, *specs, deadline=Impatient(build_s=4.0))
    assert (anchor.status, endless.status) == (Status.OK, Status.TIMEOUT)
    assert "MakeEngine within 4.0 s" in endless.message


def test_an_engine_with_which_the_worker_dies_is_kept_no_longer(bench, board: Board, with_gpu):
    spec = bench.spec("anchor")
    measured(bench, board, spec)
    with_gpu(Gpu(dies=True))
    (crashed,) = measured(bench, board, spec)
    assert crashed.status is Status.WORKER_CRASHED
    with_gpu(Gpu())
    (built,) = measured(bench, board, spec)
    assert (built.status, built.build_ns is None) == (Status.OK, False)


def test_a_gpu_that_falls_back_is_the_wrong_provider_and_nothing_is_measured(bench, board: Board, with_gpu):
    with_gpu(Gpu(fault="silent"))
    (trace,) = measured(bench, board, bench.spec("anchor"))
    assert (trace.status, trace.blocks, trace.build_ns) == (Status.WRONG_PROVIDER, (), None)
    assert f"provider {TENSORRT} was asked for" in trace.message


@pytest.mark.usefixtures("with_gpu")
def test_outputs_for_a_score_take_the_engine_that_the_measurement_left(bench, board: Board, tmp_path: Path):
    spec = on_tensorrt(bench.spec("anchor"))
    measured(bench, board, spec)
    events(tmp_path)
    request = OutputsRequest(model_sha256=spec.model_sha256, model=spec.model, inputs=spec.inputs, runtime=spec.runtime)
    *_, last = compute_outputs(
        request, board, cancelled=lambda: False, spawn_worker=lambda argv: spawn(worker_command(argv))
    )
    assert isinstance(last, OutputsDone)
    assert last.status is Status.OK, last.message
    seen = events(tmp_path)
    assert (seen["built fp16"], seen["engine read"]) == (0, 2)  # tried, and loaded


@pytest.mark.parametrize("piece", ["!", "\u00e9"])
def test_a_worker_whose_engine_is_no_base64_is_a_crash_and_nothing_is_kept(
    engines: EngineStore, tmp_path: Path, piece: str
):
    replies = (
        {"is": "EngineMade", "kind": "ab" * 32, "size_bytes": 3, "build_ns": 1},
        {"is": "EnginePart", "base64": piece},
    )
    (tmp_path / "said").write_text("".join(f"{json.dumps(reply)}\n" for reply in replies))
    script = f"import sys; print(open({str(tmp_path / 'said')!r}).read(), end='', flush=True); sys.stdin.read()"
    worker = WorkerClient([sys.executable, "-c", script], spawn=spawn, deadline=Deadline(), cancelled=lambda: False)
    with pytest.raises(WorkerError, match="broke the protocol at ReadEngine") as caught:
        build_engine(worker, model=tmp_path / "m", sha256="cd" * 32, inputs=tmp_path / "i", engines=engines)
    assert caught.value.status is Status.WORKER_CRASHED
    assert [path for path in (tmp_path / "engines").rglob("*") if path.is_file()] == []
