"""An agent that may fix its board's clocks: a process of its own on a fake tree, leased over a real socket."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from edgepareto.agent.conditions import ClockFixer, ClockModes, OwnSetter, read_conditions
from edgepareto.agent.errors import ConfigError
from edgepareto.agent.server import AgentServer
from edgepareto.agent.settings import ClockSetting, read_settings
from edgepareto.agent.wire import PROTOCOL_VERSION
from edgepareto.profiler.v1 import profiler_pb2 as pb
from edgepareto.profiler.v1 import profiler_pb2_grpc
from fakes.board_trees import jetson_orin_nano, nothing, raspberry_pi_4, write_tree
from fakes.fake_agent import BOARD, DEVICE
from fakes.measuring import FakeMeasuring

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30
TTL_S = 60


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of an agent that may fix the clocks of the tree in `tmp_path / root`."""
    (tmp_path / "root").mkdir()
    path = tmp_path / "agent.toml"
    path.write_text(
        f'listen = "127.0.0.1:0"\nstate = "{tmp_path / "state"}"\nsys_root = "{tmp_path / "root"}"\n'
        "[clocks]\nfix = true\n"
    )
    return path


class Agent:
    """One process. log: its stderr, when it has ended."""

    log = ""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", "edgepareto.agent", "--config", str(config)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._channel = grpc.insecure_channel(json.loads(self._process.stdout.readline())["listening"])
        self._stub = profiler_pb2_grpc.ProfilerStub(self._channel)  # type: ignore[no-untyped-call]

    def info(self) -> pb.DeviceInfo:
        request = pb.GetDeviceInfoRequest(protocol_version=PROTOCOL_VERSION)
        answer: pb.DeviceInfo = self._stub.GetDeviceInfo(request, timeout=DEADLINE_S)
        return answer

    def lease(self, ttl_s: float = TTL_S) -> str:
        answer = self._stub.AcquireLease(pb.AcquireLeaseRequest(owner="ann", ttl_s=ttl_s), timeout=DEADLINE_S)
        assert answer.granted
        return str(answer.lease_id)

    def release(self, lease_id: str) -> None:
        self._stub.ReleaseLease(pb.ReleaseLeaseRequest(lease_id=lease_id), timeout=DEADLINE_S)

    def end(self, number: signal.Signals) -> int:
        self._channel.close()
        self._process.send_signal(number)
        _, self.log = self._process.communicate(timeout=DEADLINE_S)
        return self._process.returncode


@contextmanager
def running(config: Path) -> Iterator[Agent]:
    agent = Agent(config)
    try:
        yield agent
    finally:
        agent.end(signal.SIGKILL)


def values(root: Path) -> dict[Path, str]:
    return {path: path.read_text().strip() for path in root.rglob("*") if path.is_file()}


def test_clocks_are_fixed_from_the_grant_of_a_lease_to_its_release_or_the_agents_end(
    tmp_path: Path, config: Path
) -> None:
    root = jetson_orin_nano(tmp_path / "root")
    before = values(root)
    with running(config) as agent:
        assert agent.info().fixes_clocks
        assert agent.info().board == "NVIDIA Jetson Orin Nano Developer Kit"
        assert values(root) == before
        lease = agent.lease()
        assert read_conditions(root).clocks_fixed is True
        agent.release(lease)
        assert values(root) == before
        agent.lease()
        assert values(root) != before
        assert agent.end(signal.SIGTERM) == 0
        assert agent.log == ""
    assert values(root) == before


def test_clocks_that_a_killed_agent_left_fixed_are_put_back_when_the_next_one_starts(
    tmp_path: Path, config: Path
) -> None:
    """Also where fixing is not allowed any more."""
    root = raspberry_pi_4(tmp_path / "root")
    before = values(root)
    with running(config) as agent:
        agent.lease()
        agent.end(signal.SIGKILL)
    assert read_conditions(root).clocks_fixed is True
    config.write_text(config.read_text().replace("fix = true", "fix = false"))
    with running(config) as agent:
        assert values(root) == before
        assert not agent.info().fixes_clocks
        agent.lease()
        assert values(root) == before


def test_a_mode_of_a_batch_that_still_ends_is_put_back_before_the_next_lease_fixes_the_clocks(tmp_path: Path) -> None:
    """Else the next lease would take the mode for the owner's own choice, and leave the board in it."""
    root = raspberry_pi_4(tmp_path / "root")
    policy = "sys/devices/system/cpu/cpufreq/policy0"
    write_tree(root, {f"{policy}/scaling_available_frequencies": "600000 1000000 1800000"})
    before = values(root)
    modes = ClockModes(root, ["1000MHz"], OwnSetter(root, tmp_path / "clock-mode.json"))
    server = AgentServer(
        device=DEVICE,
        board=replace(BOARD, sys_root=root, clock_modes=modes),
        state=tmp_path / "state",
        profile_batch=FakeMeasuring(),
        clocks=ClockFixer(root, tmp_path / "clocks.json"),
    )
    address = server.start("127.0.0.1:0")
    try:
        modes.set("1000MHz")  # as the batch of a lease that has just ended
        with grpc.insecure_channel(address) as channel:
            stub = profiler_pb2_grpc.ProfilerStub(channel)  # type: ignore[no-untyped-call]
            lease = stub.AcquireLease(pb.AcquireLeaseRequest(owner="ben", ttl_s=TTL_S), timeout=DEADLINE_S)
            assert read_conditions(root).clocks_fixed is True
            assert (root / policy / "scaling_min_freq").read_text() == "1800000"
            stub.ReleaseLease(pb.ReleaseLeaseRequest(lease_id=lease.lease_id), timeout=DEADLINE_S)
        modes.release()  # the batch's own
    finally:
        server.stop()
    assert values(root) == before


def test_an_agent_that_cannot_fix_clocks_says_so_in_one_line_and_measures_all_the_same(
    tmp_path: Path, config: Path
) -> None:
    nothing(tmp_path / "root")
    with running(config) as agent:
        assert not agent.info().fixes_clocks
        agent.release(agent.lease())
        agent.end(signal.SIGTERM)
        (line,) = agent.log.splitlines()
    assert "clocks are not fixed: " in line
    assert "has no cpufreq" in line


def test_clocks_stay_as_they_are_unless_the_boards_owner_writes_what_the_docs_say(tmp_path: Path) -> None:
    assert read_settings([]).clocks == ClockSetting(fix=False, power_mode=None)
    shown = re.search(r"```toml\n(\[clocks\].*?)```", (ROOT / "docs/measurement.md").read_text(), re.DOTALL)
    assert shown is not None
    (tmp_path / "agent.toml").write_text(shown[1])
    assert read_settings(["--config", str(tmp_path / "agent.toml")]).clocks == ClockSetting(fix=True, power_mode=0)


HOLDER = """
import sys, time
from pathlib import Path
from edgepareto.agent.conditions import ClockModes, OwnSetter
root, state = map(Path, sys.argv[1:3])
modes = ClockModes(root, ["1000MHz"], OwnSetter(root, state / "clock-mode.json"))
modes.set("1000MHz")
print("set", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("line", ["modes = ['1000MHz', 'powersave', '15W']", "fix = true", ""])
def test_a_mode_that_a_killed_agent_left_is_put_back_when_the_next_one_starts(
    line: str, tmp_path: Path, config: Path
) -> None:
    """Whatever that one is allowed; over clocks that were fixed as well."""
    root = pi_with_frequencies(tmp_path / "root")
    before = values(root)
    with running(config) as agent:
        agent.lease()
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(root), str(tmp_path / "state")], stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "set\n"
            holder.kill()
        agent.end(signal.SIGKILL)
    assert read_conditions(root).clocks_fixed is True
    assert values(root) != before
    config.write_text(config.read_text().replace("fix = true", line))
    with running(config) as agent:
        assert values(root) == before
        assert list(agent.info().clock_modes) == (["1000MHz", "powersave"] if "modes" in line else [])
        agent.end(signal.SIGTERM)
    has = "600MHz, 1000MHz, 1800MHz, conservative, ondemand, performance, powersave"
    told = [said.partition(" WARNING ")[2] for said in agent.log.splitlines()]
    assert told == ([f"clock mode 15W: this board has {has}"] if "modes" in line else [])


def test_an_agent_on_a_machine_without_cpufreq_offers_no_mode_and_says_so_in_one_line(
    tmp_path: Path, config: Path
) -> None:
    config.write_text(config.read_text().replace("fix = true", 'modes = ["performance", "1500MHz"]'))
    with running(config) as agent:
        assert list(agent.info().clock_modes) == []
        agent.end(signal.SIGTERM)
    (line,) = agent.log.splitlines()
    assert "no clock mode is offered: " in line
    assert "has no cpufreq" in line


def pi_with_frequencies(root: Path) -> Path:
    policy = "sys/devices/system/cpu/cpufreq/policy0"
    more = {"cpuinfo_min_freq": "600000", "scaling_available_frequencies": "600000 1000000 1800000"}
    return write_tree(raspberry_pi_4(root), {f"{policy}/{name}": value for name, value in more.items()})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[clocks]\nfixed = true", "unknown key 'fixed'; known are fix, power_mode, modes, socket"),
        ("[clocks]\nmodes = 'performance'", "modes is 'performance', wanted a list, as"),
        ("[clocks]\nmodes = ['a b']", "modes holds 'a b', wanted names as performance, 1500MHz or 15W"),
        ("[clocks]\nmodes = [1500]", "modes holds 1500, wanted names"),
        ("[clocks]\nmodes = ['15W', '15W']", "modes holds 2 names, wanted at most 16, each once"),
        ("[clocks]\nsocket = 'run/clocks.sock'", "socket is 'run/clocks.sock', wanted an absolute path"),
        ("[clocks]\nsocket = 1", "socket is 1, wanted text in quotes"),
        ("[clocks]\nfix = 1", "fix is 1, wanted true or false"),
        ("[clocks]\npower_mode = 2", "power_mode is 2, but it is only set with fix = true"),
        ("[clocks]\nfix = true\npower_mode = -1", "power_mode is -1, wanted a number"),
        ("[clocks]\nfix = true\npower_mode = true", "power_mode is True, wanted a whole number"),
        ("clocks = true", "clocks is True, wanted a table, as [clocks]"),
        ("sys_root = '/not/there'", "sys_root is /not/there, wanted a folder"),
    ],
)
def test_wrong_clock_settings_are_named_with_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "agent.toml").write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_settings(["--config", str(tmp_path / "agent.toml")])
    assert said in str(refusal.value)
