"""T22: a model of 200 MB over a real socket to a real agent, streamed on both sides and checked at its end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from edgepareto.host.accuracy import uniform_dataset
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import Batch, BatchEntry, CandidateId, DeviceName, Purpose, Status
from edgepareto.host.errors import DeviceLost
from edgepareto.host.export import expected_outputs, input_tensors, sha256_of, write_sample_inputs
from edgepareto.host.fleet import connect, profiler_client
from fakes.models import classifier, save

MODEL_BYTES = 200 << 20
MORE_MEMORY_BYTES = 32 << 20  # that taking it in, or sending it, may cost at most
PIECE_BYTES = 1 << 20
DEADLINE_S = 120
PI1 = DeviceName("pi1")


@dataclass
class Agent:
    pid: int
    device: DeviceConfig
    state: Path


@pytest.fixture
def agent(tmp_path: Path, socket_folder: Path) -> Iterator[Agent]:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "edgepareto.agent", "--simulate", "raspberry-pi-4b", "--state", str(state)]
    command += ["--listen", f"unix:{socket_folder}/agent.sock"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["listening"]
    yield Agent(process.pid, DeviceConfig(name="pi1", address=address), state)
    process.terminate()
    process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """A classifier, and beside it 200 MB that are no model, of which no two megabytes are alike."""
    inputs, outputs, large = tmp_path / "inputs.npz", tmp_path / "outputs.npz", tmp_path / "large.onnx"
    small = save(classifier(), tmp_path / "small.onnx")
    write_sample_inputs(uniform_dataset(input_tensors(classifier()), count=2), 2, inputs)
    expected_outputs(small, inputs, outputs)
    digest = hashlib.sha256()
    with large.open("wb") as file:
        for place in range(MODEL_BYTES // PIECE_BYTES):
            piece = hashlib.shake_128(str(place).encode()).digest(PIECE_BYTES)
            digest.update(piece)
            file.write(piece)

    def entry(name: str, model: Path, sha256: str) -> BatchEntry:
        return BatchEntry(
            candidate=CandidateId(name),
            purpose=Purpose.SEARCH,
            attempt=0,
            model=model,
            model_sha256=sha256,
            expected_outputs=outputs,
        )

    return Batch(
        request_key="study/pi1/0",
        preset="quick",
        order_seed=1,
        anchor=entry("small", small, sha256_of(small)),
        entries=(entry("large", large, digest.hexdigest()),),
        inputs=inputs,
    )


def test_a_model_of_200_mb_is_streamed_and_neither_side_holds_it_in_memory(agent: Agent, batch: Batch, tmp_path: Path):
    """T22"""
    (large,) = batch.entries
    before = {pid: _reset_peak(pid) for pid in (agent.pid, os.getpid())}
    with connect([agent.device], owner="ann", state=tmp_path) as clients:
        small, answer = clients[PI1].profile(batch, lambda text: None)
    assert small.status is Status.OK
    assert answer.status is Status.INVALID_MODEL
    assert (agent.state / "blobs" / large.model_sha256).stat().st_size == MODEL_BYTES
    for pid, at_rest in before.items():
        assert _peak_bytes(pid) - at_rest < MORE_MEMORY_BYTES


def test_one_flipped_byte_in_200_mb_is_told_and_nothing_of_it_is_kept(
    agent: Agent, batch: Batch, tmp_path: Path, monkeypatch
):
    """T22"""
    monkeypatch.setattr(profiler_client, "HEALINGS", 1)  # it is sent again, and arrives as wrong
    (large,) = batch.entries
    with large.model.open("r+b") as file:
        file.seek(MODEL_BYTES // 2)
        (byte,) = file.read(1)
        file.seek(MODEL_BYTES // 2)
        file.write(bytes([byte ^ 1]))
    with (
        connect([agent.device], owner="ann", state=tmp_path) as clients,
        pytest.raises(DeviceLost, match=rf"^pi1: UPLOAD_CORRUPT: blob {large.model_sha256}: .* \(2 times\)$"),
    ):
        clients[PI1].profile(batch, lambda text: None)
    kept = [blob.stat().st_size for blob in (agent.state / "blobs").iterdir()]
    assert sum(kept) < PIECE_BYTES


def _reset_peak(pid: int) -> int:
    """Bytes resident now; the peak counts from here (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _status_bytes(pid, "VmRSS")


def _peak_bytes(pid: int) -> int:
    return _status_bytes(pid, "VmHWM")


def _status_bytes(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
