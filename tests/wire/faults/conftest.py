"""A board whose agent is a real process, behind a network that can fail; plain, or with mutual TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from edgepareto.host.config import DeviceConfig
from edgepareto.host.credentials import issue_board_credentials, own_identity
from edgepareto.host.domain import Batch, DeviceName, ProfileTrace
from edgepareto.host.domain.incident import Incident
from edgepareto.host.fleet import ProfilerClient, channel, connect
from edgepareto.host.fleet.troubles import MEASURED_ANEW
from fakes.fake_agent import INFO
from fakes.tcp_proxy import TcpProxy

TESTS = Path(__file__).parents[2]
KEY = "study/pi1/0"
ANSWERED = ["dense", "c0", "c1"]


class Board:
    """hold: while this file exists, its batch does not end. network: leads to it, whichever life it is in."""

    def __init__(self, folder: Path, *, secured: bool, options: tuple[str, ...]) -> None:
        self.state = folder / "board"
        self.hold = folder / "hold"
        self.secured = secured
        self.credentials = folder / "board-credentials"
        self._options = options
        self.state.mkdir()
        if secured:
            self.write_credentials()
        self._process = self._started(options)
        self.network = TcpProxy(self._address)

    @property
    def device(self) -> DeviceConfig:
        return DeviceConfig(name="pi1", address=self.network.address, board_id=INFO.board_id if self.secured else None)

    def write_credentials(self) -> None:
        """As `host deploy` does."""
        own = own_identity()
        pair = issue_board_credentials(own, INFO.board_id)
        (self.credentials / "owners").mkdir(parents=True, exist_ok=True)
        (self.credentials / "agent.pem").write_bytes(pair.certificate_pem)
        (self.credentials / "agent.key").touch(mode=0o600)
        (self.credentials / "agent.key").write_bytes(pair.key_pem)
        (self.credentials / "owners" / "ann.pem").write_bytes(own.ca_pem)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def start_again(self, *options: str) -> None:
        """Killed before; with these options beside the first ones."""
        self._process = self._started((*self._options, *options))
        self.network.lead_to(self._address)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def tell(self, command: str) -> object:
        """See fakes.fake_agent.FakeBoard."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def measured(self) -> list[str]:
        """The request keys that were begun to be measured, in all its lives."""
        log = self.state / "measured"
        return log.read_text().split() if log.exists() else []

    def journal(self) -> list[Path]:
        return list((self.state / "journal").glob("*.batch"))

    def close(self) -> None:
        self.network.close()
        self.kill()

    def _started(self, options: tuple[str, ...]) -> subprocess.Popen[str]:
        command = [sys.executable, str(TESTS / "fakes" / "fake_agent.py"), "127.0.0.1:0"]
        command += [str(self.state), str(self.hold), *options]
        if self.secured:
            command += ["--credentials", str(self.credentials)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        assert process.stdout is not None
        self._address: str = json.loads(process.stdout.readline())["listening"]
        return process


@dataclass
class Told:
    """What the user and the study hear while a batch is measured; `when` acts on the first words that begin so."""

    words: list[str] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    _plans: dict[str, Callable[[], None]] = field(default_factory=dict)

    def when(self, beginning: str, act: Callable[[], None]) -> Told:
        self._plans[beginning] = act
        return self

    def progress(self, words: str) -> None:
        self.words.append(words)
        for beginning in [planned for planned in self._plans if words.startswith(planned)]:
            self._plans.pop(beginning)()

    def profile(self, client: ProfilerClient, batch: Batch) -> tuple[ProfileTrace, ...]:
        return client.profile(batch, self.progress, self.incidents.append)

    @property
    def kinds(self) -> list[str]:
        return [incident.kind for incident in self.incidents]

    @property
    def outcomes(self) -> list[str]:
        return [incident.outcome for incident in self.incidents]


StartBoard = Callable[..., Board]


@pytest.fixture(autouse=True)
def _configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def start_board(tmp_path: Path) -> Iterator[StartBoard]:
    with ExitStack() as stack:

        def start(*options: str, secured: bool = False) -> Board:
            board = Board(tmp_path, secured=secured, options=options)
            stack.callback(board.close)
            return board

        yield start


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def board(request: pytest.FixtureRequest, start_board: StartBoard) -> Board:
    return start_board(secured=request.param)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def quick_keepalive(monkeypatch: pytest.MonkeyPatch) -> float:
    """Ten times faster than a user's. Returns how many seconds it takes a host to notice that a peer is gone."""
    faster = {"grpc.keepalive_time_ms": 1_000, "grpc.keepalive_timeout_ms": 500, "grpc.http2.ping_timeout_ms": 500}
    monkeypatch.setattr(channel, "OPTIONS", tuple((dict(channel.OPTIONS) | faster).items()))
    monkeypatch.setattr(channel, "CALL_DEADLINE_S", 1.0)
    return 1.5


@contextmanager
def connected(board: Board, tmp_path: Path, owner: str = "ann@laptop study", **patience: object):
    with connect([board.device], owner=owner, state=tmp_path / "host", **patience) as clients:
        yield clients[DeviceName("pi1")]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def until(condition: Callable[[], object]) -> None:
    """Poll, with a deadline."""
    waited = threading.Event()
    for _ in range(2_000):
        if condition():
            return
        waited.wait(0.01)
    pytest.fail("waited too long")


def answered(traces: tuple[ProfileTrace, ...]) -> list[str]:
    return [str(trace.candidate) for trace in traces]


def all_reported(board: Board, told: Told) -> bool:
    """Every measurement of a key beyond its first stands in an incident."""
    repeated = sum(times - 1 for times in Counter(board.measured()).values())
    return repeated == told.outcomes.count(MEASURED_ANEW)
