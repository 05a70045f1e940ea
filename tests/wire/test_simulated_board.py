"""The whole way with every part real: host client, socket, agent process, workers, sampler, a simulated board."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import Batch, BatchEntry, CandidateId, Deployment, DeviceName, MeterStatus, Purpose, Status
from edgepareto.host.errors import DeviceError, DeviceLost
from edgepareto.host.fleet import connect, probe
from edgepareto.host.fleet.patience import SYSTEM_TIME
from fakes.virtual_time import VirtualTime
from onnx import TensorProto, helper, numpy_helper

TESTS = Path(__file__).parents[1]
PI1 = DeviceName("pi1")
SIMULATED = DeviceConfig(name="pi1", simulate="raspberry-pi-4b")
REST_MB = 60
HEAVY = {"numpy", "onnx", "onnxruntime", "pymoo", "scipy", "typer", "rich", "paramiko", "matplotlib", "plotly"}


def conv_model(channels: int) -> bytes:
    """One 3x3 convolution of 16 x 16 images and the mean of each channel."""
    rng = np.random.default_rng(channels)
    weights = rng.standard_normal((channels, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["y"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", channels, 1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def outputs_of(model: bytes, rows: np.ndarray) -> np.ndarray:
    """Without a runtime: 3x3 convolution with zero padding, then the mean."""
    weights = numpy_helper.to_array(onnx.load_from_string(model).graph.initializer[0])
    padded = np.pad(rows[:, 0], ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    means = np.einsum("nchwij,ocij->no", windows, weights, optimize=True) / (16 * 16)
    return means[:, None, :, None, None]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    rows = np.random.default_rng(0).standard_normal((4, 1, 3, 16, 16)).astype(np.float32)
    inputs = tmp_path / "inputs.npz"
    np.savez(inputs, x=rows)

    def entry(name: str, channels: int) -> BatchEntry:
        model = conv_model(channels)
        path, outputs = tmp_path / f"{name}.onnx", tmp_path / f"{name}.npz"
        path.write_bytes(model)
        np.savez(outputs, z=outputs_of(model, rows).astype(np.float32))
        return BatchEntry(
            candidate=CandidateId(name),
            purpose=Purpose.SEARCH,
            attempt=0,
            model=path,
            model_sha256=hashlib.sha256(model).hexdigest(),
            expected_outputs=outputs,
        )

    return Batch(
        request_key="study/pi1/0",
        preset="quick",
        order_seed=1,
        anchor=entry("dense", 64),
        entries=(entry("pruned", 16),),
        inputs=inputs,
    )


def quiet(_: str) -> None:
    pass


def test_a_pruned_model_is_measured_faster_than_the_dense_one_and_resumes_from_the_journal(
    batch: Batch, tmp_path: Path
):
    with connect([SIMULATED], owner="ann", state=tmp_path / "agents") as clients:
        info = clients[PI1].info
        dense, pruned = clients[PI1].profile(batch, quiet)
    assert (info.board, info.simulated, info.shares_host_cores) == ("raspberry-pi-4b", True, False)
    assert info.meter is not None
    assert info.meter.fault is None
    for trace in (dense, pruned):
        assert (trace.status, trace.message) == (Status.OK, "")
        assert trace.meter_status is MeterStatus.OK
        assert trace.simulated
        assert any(window.busy and len(window.power_uw) > 100 for window in trace.windows)
    assert dense.is_anchor
    assert np.median(dense.blocks[0].run_ns) > 1.5 * np.median(pruned.blocks[0].run_ns)
    with connect([SIMULATED], owner="ann", state=tmp_path / "agents") as clients:
        assert clients[PI1].profile(batch, quiet) == (dense, pruned)


def test_a_batch_is_measured_in_the_clock_mode_that_it_asks_for_and_in_no_other_than_the_boards(
    batch: Batch, tmp_path: Path
):
    with connect([SIMULATED], owner="ann", state=tmp_path / "agents") as clients:
        pi = clients[PI1]
        assert pi.info.clock_modes == ("1800MHz", "1500MHz", "1000MHz", "600MHz")
        in_mode = {}
        for mode in ("1800MHz", "600MHz"):
            asked = replace(batch, request_key=f"study/pi1/{mode}", deployment=Deployment(clock_mode=mode))
            in_mode[mode] = pi.profile(asked, quiet)
            assert [(t.status, t.clock_mode) for t in in_mode[mode]] == [(Status.OK, mode)] * 2
        with pytest.raises(DeviceError, match="clock mode '15W' was asked for, this board offers 1800MHz, 1500MHz, "):
            pi.profile(replace(batch, request_key="study/pi1/15W", deployment=Deployment(clock_mode="15W")), quiet)
    fast, slow = (np.median(in_mode[mode][0].blocks[0].run_ns) for mode in ("1800MHz", "600MHz"))
    assert 2 < slow / fast <= 3.1


def test_only_the_clock_modes_that_are_named_are_offered_and_only_those_that_the_board_has(tmp_path: Path):
    few = DeviceConfig(name="pi1", simulate="raspberry-pi-4b", clock_modes=("powersave", "1500MHz"))
    with connect([few], owner="ann", state=tmp_path / "agents") as clients:
        assert clients[PI1].info.clock_modes == ("powersave", "1500MHz")
    wrong = DeviceConfig(name="pi1", simulate="raspberry-pi-4b", clock_modes=("15W",))
    has = "600MHz, 1000MHz, 1500MHz, 1800MHz, performance, powersave"
    refused = pytest.raises(DeviceError, match=f"clock mode 15W: this board has {has}")
    with refused, connect([wrong], owner="ann", state=tmp_path / "agents"):
        pass


def test_a_board_that_dies_in_a_batch_is_lost_with_one_line_and_the_other_board_goes_on(batch: Batch, tmp_path: Path):
    dying = DeviceConfig(name="pi1", simulate="raspberry-pi-4b", faults=("dies_after=0",))
    living = DeviceConfig(name="pi2", simulate="raspberry-pi-4b", seed=2)
    with connect([dying, living], owner="ann", state=tmp_path / "agents") as clients:
        with pytest.raises(DeviceLost, match=r"^pi1: its agent ended: .*\(signal 9; log: .*agent\.log\)$"):
            clients[PI1].profile(batch, quiet)
        assert len(clients[DeviceName("pi2")].profile(batch, quiet)) == 2


@pytest.mark.parametrize("restarted", [True, False])
def test_a_board_killed_in_the_middle_of_a_job_measures_it_once_more_and_never_again(
    batch: Batch, tmp_path: Path, restarted: bool
):
    """T20, with real workers on a real agent: at once, or by a host that asks again later."""
    agents = [start_agent(tmp_path)]
    address = json.loads(agents[0].stdout.readline())["listening"]
    workers: list[int] = []
    told: list[str] = []

    def kill(step: str) -> None:
        if step.startswith("latency") and not workers:
            workers.extend(descendants(agents[0].pid)[1:])
            agents[0].kill()
            agents[0].wait()
            if restarted:
                agents.append(start_agent(tmp_path))

    device = DeviceConfig(name="pi1", address=address)
    try:
        time = SYSTEM_TIME if restarted else VirtualTime()
        with connect([device], owner="ann", state=tmp_path / "host", time=time) as clients:
            if restarted:
                traces = clients[PI1].profile(batch, kill)
            else:
                with pytest.raises(DeviceLost, match=r"^pi1: lost in the middle of a batch"):
                    clients[PI1].profile(batch, kill)
                agents.append(start_agent(tmp_path))
                agents[1].stdout.readline()
        assert workers, "it was killed while its workers were alive"
        assert not any(is_alive(worker) for worker in workers)
        with connect([device], owner="ann", state=tmp_path / "host") as clients:
            again = clients[PI1].profile(batch, told.append)
            if restarted:
                assert told == [], "nothing is measured"
                assert again == traces
            else:
                assert told, "it is measured now"
            assert [trace.status for trace in again] == [Status.OK, Status.OK]
            told.clear()
            assert clients[PI1].profile(batch, told.append) == again
            assert told == []
    finally:
        for agent in agents:
            agent.kill()
            agent.communicate()


def start_agent(folder: Path) -> subprocess.Popen[str]:
    """Always at the same place, so that it is found again."""
    command = [sys.executable, "-m", "edgepareto.agent", "--listen", f"unix:{folder}/agent.sock"]
    command += ["--simulate", "raspberry-pi-4b", "--state", str(folder / "agent")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_agent_that_cannot_start_says_why(tmp_path: Path):
    unknown = DeviceConfig(name="pi1", simulate="raspberry-pi-9")
    with (
        pytest.raises(
            DeviceError, match=r"^pi1: its agent did not start: no simulated board is called 'raspberry-pi-9'"
        ),
        connect([unknown], owner="ann", state=tmp_path),
    ):
        pass


def test_a_probe_needs_no_lease(tmp_path: Path):
    info = probe(DeviceConfig(name="here", local=True))
    assert (info.name, info.simulated, info.shares_host_cores) == ("here", False, True)
    assert [runtime.name for runtime in info.runtimes] == ["onnxruntime", "litert"]
    assert info.memory_bytes > 1 << 28
    assert [runtime.figures for runtime in info.runtimes] == [{}, {}], "a real board measures whatever runs"


def test_a_simulated_board_tells_of_what_it_has_figures():
    onnx, lite = probe(DeviceConfig(name="pi1", simulate="raspberry-pi-zero-2w")).runtimes
    assert (onnx.providers, onnx.figures) == (("CPUExecutionProvider",), {"CPUExecutionProvider": ("fp32",)})
    assert (lite.providers, lite.figures) == (("XNNPACK",), {"XNNPACK": ("fp32", "fp16")})


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], DeviceConfig]]:
    command = [sys.executable, str(TESTS / "fakes" / "watched_agent.py"), "--listen", "127.0.0.1:0"]
    command += ["--simulate", "raspberry-pi-4b", "--state", str(tmp_path / "agent")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["listening"]
    yield process, DeviceConfig(name="pi1", address=address)
    process.kill()
    process.communicate()


def test_the_server_stays_small_and_never_loads_numpy_or_a_host_library(watched, batch: Batch, tmp_path: Path):
    process, device = watched
    at_rest_mb = pss_mb(process.pid)
    with connect([device], owner="ann", state=tmp_path) as clients:
        assert len(clients[PI1].profile(batch, quiet)) == 2
    after_mb = pss_mb(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    loaded = {name.split(".")[0] for name in json.loads(process.stdout.readline())}
    assert loaded & HEAVY == set()
    assert "grpc" in loaded
    print(f"agent at rest: {at_rest_mb:.1f} MB PSS, after a batch {after_mb:.1f} MB")  # noqa: T201
    assert max(at_rest_mb, after_mb) <= REST_MB


def pss_mb(pid: int) -> float:
    """Of a process and all its descendants."""
    kb = 0
    for process in descendants(pid):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        kb += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return kb / 1024


def descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for thread in os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
        for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
    ]
    return [pid, *(found for child in children for found in descendants(child))]
