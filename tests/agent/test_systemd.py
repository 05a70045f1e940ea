"""What systemd hears from the agent, on a real socket like systemd's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgepareto.agent import systemd

DEADLINE_S = 30


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0edgepareto-test-{os.getpid()}")
        listening.settimeout(DEADLINE_S)
        yield listening


def address_of(manager: socket.socket) -> str:
    return "@" + manager.getsockname()[1:].decode()


def test_a_line_break_cannot_smuggle_an_assignment_in(manager: socket.socket):
    systemd.notify("READY=1", "STATUS=a\nMAINPID=1", environment={"NOTIFY_SOCKET": address_of(manager)})
    assert manager.recv(1000) == b"READY=1\nSTATUS=a MAINPID=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_a_manager_that_is_not_there_is_no_trouble(address: str):
    systemd.notify("READY=1", environment={"NOTIFY_SOCKET": address})


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, None),  # meant for a parent that passed its environment on
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_sign_of_life_is_owed_only_where_it_is_waited_for(environment: dict[str, str], interval_s: float | None):
    assert systemd.watchdog_interval_s(environment) == interval_s


def test_an_agent_that_does_not_answer_itself_gives_no_sign_of_life(manager: socket.socket, monkeypatch):
    monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", address_of(manager))
    asked = threading.Semaphore(0)
    answers = iter([True, False, True])

    def is_alive() -> bool:
        asked.release()
        return next(answers, False)

    watchdog = systemd.Watchdog(0.02, is_alive)
    for _ in range(5):
        assert asked.acquire(timeout=DEADLINE_S)
    watchdog.stop()
    manager.setblocking(False)
    heard = [manager.recv(1000) for _ in range(2)]
    assert heard == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        manager.recv(1000)


def test_the_agent_says_when_it_serves_that_it_is_alive_and_when_it_ends(manager: socket.socket, tmp_path: Path):
    command = [sys.executable, "-m", "edgepareto.agent", "--simulate", "raspberry-pi-4b", "--listen", "127.0.0.1:0"]
    command += ["--state", str(tmp_path)]
    environment = {**os.environ, "NOTIFY_SOCKET": address_of(manager), "WATCHDOG_USEC": "200000"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        ready = manager.recv(1000).decode()
        assert ready.startswith("READY=1\nSTATUS=")
        assert "listening on 127.0.0.1:" in ready
        assert [manager.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        process.send_signal(signal.SIGSTOP)  # an agent that hangs
        manager.settimeout(0.5)
        with pytest.raises(TimeoutError):
            deque(iter(lambda: manager.recv(1000), None), maxlen=0)
        process.send_signal(signal.SIGCONT)
        manager.settimeout(DEADLINE_S)
        assert manager.recv(1000) == b"WATCHDOG=1"
        process.send_signal(signal.SIGTERM)
        while (last := manager.recv(1000)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1\nSTATUS=ending"
        _, log = process.communicate(timeout=DEADLINE_S)
    # It may have been asking itself while it was stopped.
    others = [line for line in log.splitlines() if b"does not answer its own health check" not in line]
    assert (process.returncode, others) == (0, [])
