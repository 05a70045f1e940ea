"""A model's outputs, for a score: computed by a real worker, in steps, and never for ever."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from edgepareto.agent.clock import SystemClock
from edgepareto.agent.errors import Status
from edgepareto.agent.profiling import (
    Board,
    Deadline,
    OutputsDone,
    OutputsPiece,
    OutputsProgress,
    OutputsRequest,
    compute_outputs,
    outputs,
)
from edgepareto.agent.runtime import RuntimeOptions
from edgepareto.agent.simulation import create_board
from edgepareto.agent.worker import Child, ServiceSpawn, Spawn, spawn
from fakes.models import classifier, save
from fakes.worker_service import serving_workers, worker_service_command

ROWS = 23
Events = list[OutputsProgress | OutputsPiece | OutputsDone]


@pytest.fixture
def request_(tmp_path: Path) -> OutputsRequest:
    """Of a classifier whose logits are the first three pixels."""
    x = np.random.default_rng(0).random((ROWS, 1, 1, 2, 2), dtype=np.float32)
    np.savez(tmp_path / "inputs.npz", x=x)
    return OutputsRequest(
        model_sha256="ab" * 32,
        model=save(classifier(), tmp_path / "net.onnx"),
        inputs=tmp_path / "inputs.npz",
        runtime=RuntimeOptions(name="onnxruntime", threads=0, provider="CPUExecutionProvider"),
    )


def board(folder: Path) -> Board:
    """This machine, of which it tells nothing."""
    return Board(clock=SystemClock(), sys_root=folder, meter=None, default_threads=1, shared=True)


def answered(
    request: OutputsRequest,
    on: Board,
    *,
    spawn_worker: Spawn = spawn,
    cancelled: Callable[[], bool] = lambda: False,
    deadline: Deadline | None = None,
) -> Events:
    deadline = deadline or Deadline()
    return list(compute_outputs(request, on, cancelled=cancelled, spawn_worker=spawn_worker, deadline=deadline))


def arrays(events: Events) -> dict[str, np.ndarray]:
    data = b"".join(event.data for event in events if isinstance(event, OutputsPiece))
    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


@pytest.mark.parametrize("is_simulated", [False, True])
def test_every_row_of_the_inputs_has_its_row_in_the_outputs(
    request_: OutputsRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_simulated: bool
) -> None:
    on = board(tmp_path)
    if is_simulated:
        simulated = create_board("raspberry-pi-4b", tmp_path / "board", seed=3)
        on = Board(
            clock=simulated.clock,
            sys_root=simulated.sys_root,
            meter=None,
            default_threads=4,
            shared=False,
            simulation=tmp_path / "board",
        )
    monkeypatch.setattr(outputs, "LARGEST_STEP", 10)
    monkeypatch.setattr(outputs, "PIECE_BYTES", 100)
    events = answered(request_, on)
    rows = [event.rows for event in events if isinstance(event, OutputsProgress)]
    assert rows[0] == 1
    assert len(rows) >= 4
    assert rows == sorted(set(rows))
    assert rows[-1] == ROWS
    x = np.load(request_.inputs)["x"]
    assert np.array_equal(arrays(events)["logits"], x.reshape(ROWS, 1, 4)[:, :, :3])
    assert sum(isinstance(event, OutputsPiece) for event in events) > 2
    done = events[-1]
    assert isinstance(done, OutputsDone)
    assert (done.status, done.message) == (Status.OK, "")
    assert done.runtime is not None
    assert done.runtime.provider == "CPUExecutionProvider"


def test_rows_that_take_longer_than_a_step_are_asked_for_one_at_a_time(
    request_: OutputsRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "STEP_S", 1e-9)
    events = answered(request_, board(tmp_path))
    assert [event.rows for event in events if isinstance(event, OutputsProgress)] == list(range(1, ROWS + 1))


def test_they_come_through_the_units_socket_and_of_files_in_the_agents_folder_alone(
    request_: OutputsRequest, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with serving_workers(tmp_path / "worker.sock", worker_service_command(tmp_path)):
        events = answered(request_, board(tmp_path), spawn_worker=ServiceSpawn(tmp_path / "worker.sock"))
    assert arrays(events)["logits"].shape == (ROWS, 1, 3)
    with serving_workers(tmp_path / "worker.sock", worker_service_command(elsewhere)):
        (done,) = answered(request_, board(tmp_path), spawn_worker=ServiceSpawn(tmp_path / "worker.sock"))
    assert isinstance(done, OutputsDone)
    assert done.status is Status.LOAD_FAILED
    assert f"is not below {elsewhere}" in done.message


@pytest.mark.parametrize(
    ("spoil", "status", "said"),
    [
        (lambda r: r.model.write_bytes(b"no model"), Status.INVALID_MODEL, "is not an ONNX model"),
        (lambda r: r.inputs.write_bytes(b"no npz"), Status.LOAD_FAILED, "inputs.npz is not a readable .npz file"),
        (lambda r: np.savez(r.inputs, x=np.zeros((2, 1, 9), np.float32)), Status.LOAD_FAILED, "does not run"),
    ],
)
def test_a_model_that_fails_is_a_result_with_its_verdict_in_one_line(
    request_: OutputsRequest, tmp_path: Path, spoil: Callable[[OutputsRequest], object], status: Status, said: str
) -> None:
    spoil(request_)
    (done,) = answered(request_, board(tmp_path))
    assert isinstance(done, OutputsDone)
    assert done.status is status
    assert said in done.message
    assert "\n" not in done.message


SAYS_LOADED = {
    "is": "Loaded",
    "runtime": {"name": "r", "version": "1", "provider": "p", "threads": 1, "options": {}},
    "load_ns": 1,
    "first_run_ns": 1,
}
COMPUTED = {"is": "OutputsComputed", "rows": 1, "rows_left": 0}


def saying(folder: Path, *replies: dict[str, object]) -> Spawn:
    """A worker that loads every model, says this, and no more."""
    lines = [json.dumps(reply) for reply in ({"is": "Ready"}, SAYS_LOADED, *replies)]
    (folder / "said").write_text("".join(f"{line}\n" for line in lines))
    script = f"import sys; print(open({str(folder / 'said')!r}).read(), end='', flush=True); sys.stdin.read()"
    return lambda argv: spawn([sys.executable, "-c", script])


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ([{"is": "OutputsComputed", "rows": 0, "rows_left": 1}], "it computed 0 rows"),
        ([COMPUTED, {"is": "OutputPiece", "base64": "", "left_bytes": 5}], "it sent 0 bytes of its outputs at once"),
        ([COMPUTED, {"is": "OutputPiece", "base64": "A" * 1_400_000, "left_bytes": 5}], "it sent 1050000 bytes"),
        ([COMPUTED, {"is": "OutputPiece", "base64": "!", "left_bytes": 0}], "its outputs are no base64"),
        ([COMPUTED, {"is": "OutputPiece", "base64": "\u00e9", "left_bytes": 0}], "its outputs are no base64"),
        ([{"is": "Checked", "output_error": 0.0}], "Checked instead of OutputsComputed"),
        ([{"is": "Failed", "status": Status.OK.value, "message": ""}], "Failed instead of OutputsComputed"),
    ],
)
def test_a_worker_that_breaks_the_protocol_is_a_crash_and_keeps_nobody_waiting(
    request_: OutputsRequest, tmp_path: Path, replies: list[dict[str, object]], said: str
) -> None:
    events = answered(request_, board(tmp_path), spawn_worker=saying(tmp_path, *replies))
    done = events[-1]
    assert isinstance(done, OutputsDone)
    assert done.status is Status.WORKER_CRASHED
    assert said in done.message


@pytest.mark.parametrize("by", ["its caller", "its end"])
def test_no_process_is_left_when_it_is_called_off(request_: OutputsRequest, tmp_path: Path, by: str) -> None:
    children: list[Child] = []

    def kept(argv: Sequence[str]) -> Child:
        children.append(spawn(argv))
        return children[-1]

    if by == "its caller":
        assert answered(request_, board(tmp_path), spawn_worker=kept, cancelled=lambda: True) == []
    else:
        events = compute_outputs(request_, board(tmp_path), cancelled=lambda: False, spawn_worker=kept)
        assert isinstance(next(events), OutputsProgress)
        events.close()
    (child,) = children
    assert child.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_worker_that_hangs_is_a_timeout(request_: OutputsRequest, tmp_path: Path) -> None:
    hanging, deadline = saying(tmp_path), Deadline(factor=0.0, slack_s=1.0)
    (done,) = answered(request_, board(tmp_path), spawn_worker=hanging, deadline=deadline)
    assert isinstance(done, OutputsDone)
    assert done.status is Status.TIMEOUT
