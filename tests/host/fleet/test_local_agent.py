"""An embedded agent ends with its host, however the host ends, and not before."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from edgepareto.host.config import DeviceConfig
from edgepareto.host.domain import DeviceName
from edgepareto.host.errors import DeviceError
from edgepareto.host.fleet import connect
from edgepareto.host.fleet.local_agent import LocalAgent

DEADLINE_S = 20.0
HOST = """
import os, sys, time
from pathlib import Path
from edgepareto.host.config import DeviceConfig
from edgepareto.host.fleet import connect

with connect([DeviceConfig(name="pi1", simulate="raspberry-pi-4b")], owner="ann", state=Path(sys.argv[1])) as clients:
    forked = os.fork() if sys.argv[2] == "forks" else None  # keeps the agent's stdin open
    if forked != 0:
        print(clients["pi1"]._agent._process.pid, forked, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("host_is", ["alone", "forks"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_host_that_is_killed_leaves_neither_its_agent_nor_a_socket(tmp_path: Path, host_is: str):
    environment = {**os.environ, "TMPDIR": tempfile.mkdtemp(prefix="ep-")}
    host = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOST, str(tmp_path / "agents"), host_is],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert host.stdout is not None
    agent, forked = host.stdout.readline().split()
    try:
        host.kill()
        host.wait()
        until_gone(int(agent))
        assert list(Path(environment["TMPDIR"]).iterdir()) == []
    finally:
        host.stdout.close()
        if forked != "None":
            os.kill(int(forked), signal.SIGKILL)
        Path(environment["TMPDIR"]).rmdir()


def test_a_host_with_more_open_files_than_select_can_watch_starts_an_agent(tmp_path: Path):
    """FD_SETSIZE is 1,024; a notebook or a loader of data gets there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), max(hard, 2048)))
    with ExitStack() as files:
        for _ in range(1100):
            files.enter_context(Path(os.devnull).open())
        with connect([DeviceConfig(name="pi1", simulate="raspberry-pi-4b")], owner="ann", state=tmp_path) as clients:
            assert clients[DeviceName("pi1")].info.simulated


def test_an_agent_outlives_the_thread_that_started_it(tmp_path: Path):
    """PR_SET_PDEATHSIG is bound to that thread."""
    connection = connect([DeviceConfig(name="pi1", simulate="raspberry-pi-4b")], owner="ann", state=tmp_path)
    clients = {}
    starter = threading.Thread(target=lambda: clients.update(connection.__enter__()))
    starter.start()
    starter.join()
    agent = clients[DeviceName("pi1")]._agent
    assert clients[DeviceName("pi1")]._lease.renew()  # answered, so still there
    assert agent.last_words() is None
    connection.__exit__(None, None, None)
    assert agent.last_words() is not None


@pytest.mark.parametrize(("shared", "flags"), [(None, []), (True, ["--shared"]), (False, ["--no-shared"])])
def test_whether_this_machine_is_shared_reaches_its_agent(tmp_path: Path, shared: bool | None, flags: list[str]):
    agent = LocalAgent(DeviceConfig(name="here", local=True, shared=shared), tmp_path)
    try:
        agent.wait_ready()
        arguments = Path(f"/proc/{agent._process.pid}/cmdline").read_bytes().decode().split("\0")
        assert [argument for argument in arguments if argument.endswith("shared")] == flags
    finally:
        agent.close()


@pytest.mark.parametrize("pace", [0.0, 0.5])
def test_a_simulated_boards_pace_reaches_its_agent(tmp_path: Path, pace: float):
    agent = LocalAgent(DeviceConfig(name="pi1", simulate="raspberry-pi-4b", pace=pace), tmp_path)
    try:
        agent.wait_ready()
        arguments = Path(f"/proc/{agent._process.pid}/cmdline").read_bytes().decode().split("\0")
        assert float(arguments[arguments.index("--pace") + 1]) == pace
    finally:
        agent.close()


def until_gone(pid: int) -> None:
    """Poll, with a deadline. A zombie is gone too: whoever adopted it has not looked yet."""
    waited = threading.Event()
    for _ in range(int(DEADLINE_S / 0.02)):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        waited.wait(0.02)
    pytest.fail(f"process {pid} is still there after {DEADLINE_S} s")


def test_a_users_file_hides_no_module_from_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("queue", "json", "typing"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with connect([DeviceConfig(name="pi1", simulate="raspberry-pi-4b")], owner="ann", state=Path("agents")) as clients:
        assert clients[DeviceName("pi1")].info.simulated


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_log_is_named_only_where_it_is_still_there_afterwards(tmp_path: Path, is_kept: bool):
    board = DeviceConfig(name="pi1", simulate="raspberry-pi-4b", faults=("wobble",))
    with (
        pytest.raises(DeviceError, match="wobble") as failed,
        connect([board], owner="ann", state=tmp_path if is_kept else None),
    ):
        pass
    assert (str(tmp_path / "pi1" / "agent.log") in str(failed.value)) is is_kept
    assert ("agent.log" in str(failed.value)) is is_kept
    assert "exit code 2" in str(failed.value)
