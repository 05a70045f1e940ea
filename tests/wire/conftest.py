"""A batch of files, agents whose measuring is fake, in this process or in one of their own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from edgepareto.agent.output_run import ComputeOutputs
from edgepareto.agent.server import AgentServer
from edgepareto.agent.wire import Device
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import Batch, BatchEntry, CandidateId, Purpose
from fakes.fake_agent import fake_server
from fakes.measuring import FakeMeasuring

TESTS = Path(__file__).parents[1]


@dataclass
class RunningAgent:
    """measuring: what the agent measures with; address: as it stands in edgepareto.toml."""

    server: AgentServer
    measuring: FakeMeasuring
    address: str
    state: Path

    @property
    def device(self) -> DeviceConfig:
        return DeviceConfig(name="pi1", address=self.address)


StartAgent = Callable[..., RunningAgent]


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """Short, because a unix socket's path holds 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ep-test-") as folder:
        yield Path(folder)


@pytest.fixture
def start_agent(tmp_path: Path, socket_folder: Path) -> Iterator[StartAgent]:
    """Starts an agent in this process; the default address is a unix socket."""
    servers: list[AgentServer] = []

    def start(
        measuring: FakeMeasuring | None = None, *, address: str | None = None, **settings: int | Device | ComputeOutputs
    ) -> RunningAgent:
        measuring = measuring or FakeMeasuring()
        state = tmp_path / f"agent{len(servers)}"
        server = fake_server(state, measuring, **settings)
        servers.append(server)
        listening = server.start(address or f"unix:{socket_folder}/agent{len(servers)}.sock")
        return RunningAgent(server, measuring, listening, state)

    yield start
    for server in servers:
        server.stop()


@dataclass
class AgentProcess:
    """A killable agent. `hold`: while this file exists its batch does not end."""

    process: subprocess.Popen[str]
    address: str
    hold: Path
    state: Path

    @property
    def device(self) -> DeviceConfig:
        return DeviceConfig(name="pi1", address=self.address)

    def measured(self) -> list[str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("measured\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def start_agent_process(tmp_path: Path, socket_folder: Path) -> Iterator[Callable[..., AgentProcess]]:
    """Every call starts one with the same state folder, by default on the same address."""
    processes: list[subprocess.Popen[str]] = []
    hold = tmp_path / "hold"
    state = tmp_path / "agent"
    socket = f"unix:{socket_folder}/agent.sock"

    def start(address: str = socket) -> AgentProcess:
        process = subprocess.Popen(
            [sys.executable, str(TESTS / "fakes" / "fake_agent.py"), address, str(state), str(hold)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        processes.append(process)
        assert process.stdout is not None
        return AgentProcess(process, json.loads(process.stdout.readline())["listening"], hold, state)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@dataclass
class BatchFiles:
    """Makes batches of small files; the same name gives the same bytes."""

    folder: Path
    model_bytes: dict[str, bytes] = field(default_factory=dict)

    def batch(self, request_key: str = "study/pi1/0", candidates: int = 2) -> Batch:
        inputs = self._file("inputs.npz", b"sample inputs")
        entries = [self._entry(name) for name in ("dense", *(f"c{i}" for i in range(candidates)))]
        return Batch(
            request_key=request_key,
            preset="quick",
            order_seed=2**63 + 5,
            anchor=entries[0],
            entries=tuple(replace(entry, attempt=1, purpose=Purpose.REMEASURE) for entry in entries[1:]),
            inputs=inputs,
        )

    def _entry(self, name: str) -> BatchEntry:
        content = self.model_bytes.get(name, f"model {name}".encode())
        return BatchEntry(
            candidate=CandidateId(name),
            purpose=Purpose.SEARCH,
            attempt=0,
            model=self._file(f"{name}.onnx", content),
            model_sha256=hashlib.sha256(content).hexdigest(),
            expected_outputs=self._file(f"{name}.npz", f"outputs of {name}".encode()),
        )

    def _file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


@pytest.fixture
def files(tmp_path: Path) -> BatchFiles:
    folder = tmp_path / "files"
    folder.mkdir()
    return BatchFiles(folder)
