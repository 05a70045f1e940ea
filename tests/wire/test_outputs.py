"""A model's outputs on the board, from the host's client to a worker and back, and what ends them on the way."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from edgepareto.agent import output_run
from edgepareto.agent.errors import Status
from edgepareto.agent.profiling import OutputsDone, OutputsPiece, OutputsProgress, OutputsRequest
from edgepareto.agent.profiling.board import Board
from edgepareto.host.domain import Deployment, DeviceName
from edgepareto.host.errors import DeviceLost, EvaluationError
from edgepareto.host.export import sha256_of
from edgepareto.host.fleet import connect
from edgepareto.host.fleet.channel import open_channel, open_stub
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.models import classifier, save

PI1 = DeviceName("pi1")
DEADLINE_S = 20.0
ROWS = 7
CPU = Deployment(threads=2)
OK = OutputsDone(status=Status.OK, message="", runtime=None)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).random((ROWS, 1, 1, 2, 2), dtype=np.float32)
    np.savez(tmp_path / "inputs.npz", x=x)
    return tmp_path / "inputs.npz"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Its logits are the first three pixels."""
    return save(classifier(), tmp_path / "net.onnx")


def logits(inputs: Path) -> np.ndarray:
    return np.load(inputs)["x"].reshape(ROWS, 1, 4)[:, :, :3]


class Endless:
    """Computes for ever, and tells when it is called off. It may give pieces without end."""

    def __init__(self, piece: bytes = b"") -> None:
        self.began, self.ended = threading.Event(), threading.Event()
        self._piece = piece

    def __call__(
        self, request: OutputsRequest, board: Board, *, cancelled: Callable[[], bool]
    ) -> Generator[OutputsProgress | OutputsPiece | OutputsDone, None, None]:
        try:
            yield OutputsProgress(rows=1)
            self.began.set()
            while not cancelled():
                if self._piece:
                    yield OutputsPiece(data=self._piece)
                self.ended.wait(0.01)
        finally:
            self.ended.set()


def test_every_row_comes_back_and_nothing_is_sent_twice_or_left_on_the_board(
    start_agent, tmp_path: Path, model: Path, inputs: Path
):
    agent = start_agent()
    told: list[str] = []
    with connect([agent.device], owner="ann", state=tmp_path) as clients:
        seen = clients[PI1].outputs(model, inputs, CPU, told.append)
        blobs = {path: path.stat().st_ino for path in (agent.state / "blobs").iterdir()}
        again = clients[PI1].outputs(model, inputs, CPU)
    assert list(seen) == ["logits"]
    assert np.array_equal(seen["logits"], logits(inputs))
    assert np.array_equal(again["logits"], seen["logits"])
    assert told[-1] == "outputs of 7 runs"
    assert blobs == {path: path.stat().st_ino for path in (agent.state / "blobs").iterdir()}
    assert len(blobs) == 2


def test_a_model_that_fails_there_is_told_in_the_boards_words_and_the_next_one_is_answered(
    start_agent, tmp_path: Path, model: Path, inputs: Path
):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with connect([start_agent().device], owner="ann", state=tmp_path) as clients:
        with pytest.raises(EvaluationError, match=r"^pi1: INVALID_MODEL .* is not an ONNX model") as error:
            clients[PI1].outputs(broken, inputs, CPU)
        assert "\n" not in str(error.value)
        with pytest.raises(DeviceLost, match=r"^pi1: 5 threads were asked for, this board has 4 cores$"):
            clients[PI1].outputs(model, inputs, Deployment(threads=5))
        assert np.array_equal(clients[PI1].outputs(model, inputs, CPU)["logits"], logits(inputs))


def test_blobs_and_a_lease_that_the_agent_lost_are_taken_up_again(
    start_agent, tmp_path: Path, model: Path, inputs: Path
):
    agent = start_agent()
    with connect([agent.device], owner="ann", state=tmp_path) as clients:
        clients[PI1].outputs(model, inputs, CPU)
        for blob in (agent.state / "blobs").iterdir():
            blob.write_bytes(b"damaged on the disk")
        agent.server._leases.close()
        assert np.array_equal(clients[PI1].outputs(model, inputs, CPU)["logits"], logits(inputs))


def test_a_board_computes_outputs_or_measures_and_a_host_waits_for_the_other(
    start_agent, tmp_path: Path, files, model: Path, inputs: Path
):
    endless = Endless()
    agent = start_agent(compute_outputs=endless)
    with connect([agent.device], owner="ann", state=tmp_path) as clients:
        with open_channel(agent.address) as dialled:
            call = _asked(dialled, clients[PI1], model, inputs)
            assert next(call).progress.rows == 1
            waited = threading.Event()

            def on_progress(words: str) -> None:
                if words == "waiting for the board":
                    waited.set()
                    call.cancel()

            traces = clients[PI1].profile(files.batch(), on_progress)
        assert waited.is_set()
        assert endless.ended.wait(DEADLINE_S)
        assert len(traces) == 3

        agent.measuring.held = lambda: not waited_again.is_set()
        waited_again = threading.Event()
        batch = files.batch("study/pi1/1")
        measured = threading.Thread(target=lambda: clients[PI1].profile(batch, lambda words: None))
        agent.measuring.began.clear()
        measured.start()
        assert agent.measuring.began.wait(DEADLINE_S)
        with open_channel(agent.address) as dialled, pytest.raises(grpc.RpcError) as refusal:
            next(_asked(dialled, clients[PI1], model, inputs))
        waited_again.set()
        measured.join(DEADLINE_S)
    assert refusal.value.code() is grpc.StatusCode.ABORTED
    assert refusal.value.details() == "the board is measuring batch study/pi1/1; one batch at a time"


@pytest.mark.parametrize("why", ["its host goes", "its lease ends", "its host hears nothing", "the agent ends"])
def test_they_end_with_whoever_asked_and_the_board_is_free(
    start_agent, tmp_path: Path, model: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch, why: str
):
    monkeypatch.setattr(output_run, "STALLED_S", 0.3)
    endless = Endless(bytes(1 << 20) if why == "its host hears nothing" else b"")
    agent = start_agent(compute_outputs=endless)
    with connect([agent.device], owner="ann", state=tmp_path) as clients, open_channel(agent.address) as dialled:
        call = _asked(dialled, clients[PI1], model, inputs)
        assert endless.began.wait(DEADLINE_S)
        if why == "its host goes":
            call.cancel()
        elif why == "its lease ends":
            agent.server._leases.close()
        elif why == "the agent ends":
            agent.server.stop()
        assert endless.ended.wait(DEADLINE_S)
        run = agent.server._servicer._output_run
        run._thread.join(DEADLINE_S)
        assert run.finished
        if why == "its lease ends":
            with pytest.raises(grpc.RpcError, match="the lease ended while outputs were computed"):
                list(call)
        call.cancel()


def _asked(channel: grpc.Channel, client, model: Path, inputs: Path) -> Iterator[pb.ComputeOutputsEvent]:
    """Straight from the agent, under the client's lease; the files are there already, or are sent."""
    stub = open_stub(channel)
    for path in (model, inputs):
        header = pb.BlobHeader(lease_id=client._lease.id, sha256=sha256_of(path), size_bytes=path.stat().st_size)
        data = [pb.UploadBlobRequest(header=header), pb.UploadBlobRequest(data=path.read_bytes())]
        stub.UploadBlob(iter(data), timeout=DEADLINE_S)
    request = pb.ComputeOutputsRequest(
        lease_id=client._lease.id, model_sha256=sha256_of(model), inputs_sha256=sha256_of(inputs)
    )
    return stub.ComputeOutputs(request, timeout=DEADLINE_S)


def npz(content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("y.npy", content)
    return buffer.getvalue()


def npy(shape: str, dtype: str, data: bytes) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([b"no zip", OK], "sent outputs that are no .npz file: File is not a zip file"),
        ([npz(b"no array"), OK], "sent outputs that are no .npz file"),
        ([npz(npy("(1,)", "<f4", bytes(4)), zipfile.ZIP_DEFLATED), OK], "y.npy is compressed"),
        ([npz(npy("(1000000, 1000000)", "<f4", bytes(4))), OK], "y.npy claims"),
        ([npz(npy("(1,)", "|O", b"\x80\x04N.")), OK], "y.npy claims"),
        ([npz(npy("(-3,)", "<f4", bytes(4))), OK], "sent outputs that are no .npz file"),
        ([npz(npy("(1,)", "<f4", bytes(4)))], "its outputs ended before they were whole"),
    ],
)
def test_a_board_that_sends_something_else_is_lost_in_one_line(
    start_agent, tmp_path: Path, model: Path, inputs: Path, sent: list[bytes | OutputsDone], said: str
):
    def answering(
        request: OutputsRequest, board: Board, *, cancelled: Callable[[], bool]
    ) -> Generator[OutputsProgress | OutputsPiece | OutputsDone, None, None]:
        for one in sent:
            yield one if isinstance(one, OutputsDone) else OutputsPiece(data=one)

    agent = start_agent(compute_outputs=answering)
    with (
        connect([agent.device], owner="ann", state=tmp_path) as clients,
        pytest.raises(DeviceLost, match=r"^pi1: ") as error,
    ):
        clients[PI1].outputs(model, inputs, CPU)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
