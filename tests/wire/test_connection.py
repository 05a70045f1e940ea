"""Who a host may connect to, and what it is told where it may not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.agent import wire as agent_wire
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import DeviceName
from edgepareto.host.errors import DeviceError, Unreachable, WrongProtocol
from edgepareto.host.fleet import connect, probe
from edgepareto.host.fleet.channel import open_channel, open_stub
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.fake_agent import DEVICE
from fakes.measuring import FakeMeasuring
from fakes.virtual_time import VirtualTime
from grpc_health.v1 import health_pb2, health_pb2_grpc

PI1 = DeviceName("pi1")
DEADLINE_S = 20.0


def test_the_device_says_who_it_is(start_agent, tmp_path: Path):
    with connect([start_agent().device], owner="ann", state=tmp_path) as clients:
        client = clients[PI1]
        assert (client.info.name, client.info.board, client.info.meter.kind) == ("pi1", "fake board", "ina219")


def test_a_board_in_use_is_waited_for_in_line_and_then_told_with_who_has_it_and_how_to_take_it(
    start_agent, tmp_path: Path
):
    agent = start_agent()
    told: list[str] = []
    time = VirtualTime()
    with (
        connect([agent.device], owner="bob@desk other", state=tmp_path),
        pytest.raises(
            DeviceError,
            match=r"^pi1: in use by bob@desk other; its lease ends in (30|29) s unless it is renewed; waited 120 s for "
            r"it; .*host devices unlock pi1$",
        ),
        connect([agent.device], owner="ann", state=tmp_path, tell=told.append, time=time),
    ):
        pass
    assert told == ["pi1: held by bob@desk other, you are 1st in line"]
    assert time.now_s() == 120


def test_who_waits_gets_the_board_when_it_is_free_and_is_told_when_the_place_in_line_changes(
    start_agent, tmp_path: Path
):
    agent = start_agent()
    told: list[str] = []
    time = VirtualTime()
    with connect([agent.device], owner="bob@desk other", state=tmp_path) as holding:
        with open_channel(agent.address) as dialled:
            ahead = pb.AcquireLeaseRequest(owner="eve@desk", ttl_s=30, wait=True)
            open_stub(dialled).AcquireLease(ahead, timeout=5)
        # She is forgotten when she does not ask again; only then ours is the first place.
        time.at(4, lambda: forget(agent, "eve@desk"))
        time.at(8, holding[PI1].close)
        with connect([agent.device], owner="ann", state=tmp_path, tell=told.append, time=time) as clients:
            assert clients[PI1].info.name == "pi1"
    assert told == [
        "pi1: held by bob@desk other, you are 2nd in line",
        "pi1: held by bob@desk other, you are 1st in line",
    ]
    assert time.now_s() == 8


def forget(agent, owner: str) -> None:
    """As after six seconds without asking."""
    queue = agent.server._leases._queue
    queue[next(waiting for waiting in queue if waiting.name == owner)] -= 6


def test_one_board_that_is_missing_ends_the_waiting_for_all_others(start_agent, tmp_path: Path):
    agent = start_agent()
    missing = DeviceConfig(name="pi2", address="127.0.0.1:9")
    with (
        connect([agent.device], owner="bob@desk other", state=tmp_path),
        pytest.raises(Unreachable, match=r"^pi2: no agent answers"),
        connect([agent.device, missing], owner="ann", state=tmp_path),
    ):
        pass


def test_nobody_at_an_address_is_unreachable_with_what_to_do(tmp_path: Path):
    nowhere = DeviceConfig(name="pi1", address="127.0.0.1:9")
    with pytest.raises(Unreachable, match=r"^pi1: no agent answers at 127\.0\.0\.1:9 .*start edgepareto-agent there"):
        probe(nowhere)


def test_a_protocol_version_that_the_host_does_not_know_is_refused(start_agent, monkeypatch):
    agent = start_agent()
    monkeypatch.setattr(agent_wire, "spoken_version", lambda _: 4)
    with pytest.raises(WrongProtocol, match=r"its agent 1\.2\.3 speaks protocol version 4, this host speaks 1 to 3"):
        probe(agent.device)


def test_an_agent_without_the_runtime_is_refused_with_what_to_install(start_agent, tmp_path: Path):
    bare = replace(DEVICE, info=replace(DEVICE.info, runtimes=(), simulated=False))
    agent = start_agent(device=bare)
    with (
        pytest.raises(
            DeviceError, match=r"has no runtime onnxruntime \(it has none\); .*pip install 'edgepareto\[agent\]'"
        ),
        connect([agent.device], owner="ann", state=tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("runtime", "provider"),
    [("onnxruntime-cuda", "CUDAExecutionProvider"), ("onnxruntime-tensorrt", "TensorrtExecutionProvider")],
)
def test_a_gpu_that_the_boards_onnx_runtime_cannot_use_is_refused_with_the_wheel_to_give(
    start_agent, tmp_path: Path, runtime: str, provider: str
):
    info = replace(DEVICE.info, simulated=False)
    agent = start_agent(device=replace(DEVICE, info=info))
    with (
        pytest.raises(
            DeviceError,
            match=rf"^pi1: runtime {runtime}: its onnxruntime 1\.23 lacks {provider} \(it has CPUExecutionProvider\); "
            r"give the wheel .*host deploy pi1 --wheelhouse FOLDER",
        ),
        connect([replace(agent.device, runtime=runtime)], owner="ann", state=tmp_path),
    ):
        pass
    with_gpu = replace(info, runtimes=(replace(info.runtimes[0], providers=(provider, "CPUExecutionProvider")),))
    agent = start_agent(device=replace(DEVICE, info=with_gpu))
    with connect([replace(agent.device, runtime=runtime)], owner="ann", state=tmp_path) as clients:
        assert provider in clients[PI1].info.runtimes[0].providers


@pytest.mark.parametrize("threads", [4, 5])
def test_more_threads_than_the_board_has_cores_are_refused_before_any_work(start_agent, tmp_path: Path, threads: int):
    device = replace(start_agent().device, threads=threads)
    refused = pytest.raises(DeviceError, match=r"^pi1: threads is 5, this board has 4 cores; set 1 to 4 under ")
    with refused if threads > 4 else nullcontext(), connect([device], owner="ann", state=tmp_path):
        pass


def test_health_is_answered_while_a_batch_is_measured(start_agent, files, tmp_path: Path):
    release = threading.Event()
    measuring = FakeMeasuring(held=lambda: not release.is_set())
    agent = start_agent(measuring)
    with ThreadPoolExecutor(1) as pool, connect([agent.device], owner="ann", state=tmp_path) as clients:
        running = pool.submit(clients[PI1].profile, files.batch(), lambda _: None)
        assert measuring.began.wait(DEADLINE_S)
        with open_channel(agent.address) as dialled:
            health = health_pb2_grpc.HealthStub(dialled)
            for service in ("", "edgepareto.profiler.v1.Profiler"):
                answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        release.set()
        running.result(DEADLINE_S)
