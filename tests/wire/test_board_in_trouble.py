"""A simulated board whose clock falls in a block, or whose workers die: the whole way, over a real socket."""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path

import grpc
import pytest
from edgepareto.agent.batch_run import BatchRun
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import Batch, DeviceName, MeterStatus, Status
from edgepareto.host.fleet import connect
from edgepareto.profiler.v1 import profiler_pb2 as pb
from edgepareto.profiler.v1 import profiler_pb2_grpc
from fakes.batches import batch_of
from fakes.models import convolution
from wire.conftest import StartAgent

PI1 = DeviceName("pi1")
NEXT_JOB_S = 5.0


def board(*faults: str) -> DeviceConfig:
    return DeviceConfig(name="pi1", simulate="raspberry-pi-4b", faults=faults)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """An anchor and two candidates of the same network; the last one's id ends with b."""
    return batch_of(convolution(), tmp_path, anchor="00", candidates=("0a", "0b"))


def test_a_block_in_which_the_board_throttled_is_void_and_measured_again(batch: Batch, tmp_path: Path):
    """T25"""
    with connect([board("throttle_mid_block=3")], owner="ann", state=tmp_path / "a") as clients:
        throttled = clients[PI1].profile(batch, lambda text: None)
    with connect([board()], owner="ann", state=tmp_path / "b") as clients:
        steady = clients[PI1].profile(batch, lambda text: None)
    assert sum(trace.voided for trace in throttled) > 0
    assert sum(trace.voided for trace in steady) == 0
    for trace, same in zip(throttled, steady, strict=True):
        assert (trace.status, trace.meter_status) == (Status.OK, MeterStatus.OK)
        medians = [statistics.median(block.run_ns) for block in trace.blocks]
        assert max(medians) / statistics.median(same.blocks[0].run_ns) < 1.05  # the clock fell by a sixth


@pytest.mark.parametrize(("fault", "verdict"), [("crash=b", Status.WORKER_CRASHED), ("oom=b", Status.OOM)])
def test_an_agent_whose_worker_died_takes_the_next_job_at_once_and_leaves_no_orphan(
    batch: Batch, tmp_path: Path, fault: str, verdict: Status
):
    """T19"""
    state = tmp_path / "agents"
    with connect([board(fault)], owner="ann", state=state) as clients:
        assert [trace.status for trace in clients[PI1].profile(batch, lambda text: None)] == [
            Status.OK,
            Status.OK,
            verdict,
        ]
        assert _processes_of(state) == {"edgepareto.agent"}
        next_batch = Batch(
            request_key="study/pi1/1",
            preset="quick",
            order_seed=2,
            anchor=batch.anchor,
            entries=batch.entries[:1],
            inputs=batch.inputs,
        )
        told_at: list[float] = []
        asked_at = time.monotonic()
        traces = clients[PI1].profile(next_batch, lambda text: told_at.append(time.monotonic()))
        assert [trace.status for trace in traces] == [Status.OK, Status.OK]
        assert told_at[0] - asked_at < NEXT_JOB_S
    assert _processes_of(state) == set()


def _processes_of(state: Path) -> set[str]:
    """What of ours runs with this folder in its command line."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it ended
            continue
        if any(str(state) in word for word in words):
            found.add("edgepareto.agent" if "--listen" in words else " ".join(words))
    return found


def test_a_batch_for_which_the_board_has_no_thread_does_not_block_the_next_one(
    start_agent: StartAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    with grpc.insecure_channel(start_agent().address) as channel:
        stub = profiler_pb2_grpc.ProfilerStub(channel)
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner="ann", ttl_s=60)).lease_id

        def asked(key: str) -> grpc.StatusCode:
            candidate = pb.CandidateRequest(model_sha256="ab" * 32, expected_outputs_sha256="ab" * 32)
            batch = pb.ProfileRequest(lease_id=lease, request_key=key, inputs_sha256="ab" * 32, anchor=candidate)
            with pytest.raises(grpc.RpcError) as refusal:
                list(stub.Profile(batch, timeout=10))
            return refusal.value.code()

        with monkeypatch.context() as out_of_threads:
            out_of_threads.setattr(BatchRun, "start", lambda run: threading.Lock().release())  # RuntimeError, as Thread
            assert asked("first") is grpc.StatusCode.INTERNAL
        assert asked("second") is grpc.StatusCode.NOT_FOUND, "it was begun, and its blobs were never sent"
