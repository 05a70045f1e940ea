"""Boards that another host uses: how long a command stands in line, and how it stops."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from edgepareto.host.config import DeviceConfig
from edgepareto.host.fleet import connect

if TYPE_CHECKING:
    from conftest import Board, Project


@pytest.fixture
def held(boards: tuple[Board, Board]) -> Iterator[None]:
    """By bob's host."""
    devices = [DeviceConfig(name=board.name, address=board.address) for board in boards]
    with connect(devices, owner="bob@desk", state=None):
        yield


@pytest.mark.usefixtures("held")
def test_a_command_stands_in_line_for_all_its_boards_at_once_and_ctrl_c_ends_it_at_once(project: Project):
    waiting = subprocess.Popen(
        [sys.executable, "-m", "edgepareto.host", "search", "--devices", "pi1,jetson2", "--wait", "5"],
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    lines = {waiting.stderr.readline().strip() for _ in range(2)}
    assert lines == {f"{name}: held by bob@desk, you are 1st in line" for name in ("pi1", "jetson2")}
    began_s = time.monotonic()
    waiting.send_signal(signal.SIGINT)
    _, rest = waiting.communicate(timeout=30)
    assert time.monotonic() - began_s < 5
    assert waiting.returncode == 130
    assert rest.strip() == "host: interrupted; go on with --resume"


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("words", [("search",), ("profile", "mobilenet.onnx"), ("profile-steps",)], ids=lambda w: w[0])
def test_a_command_that_may_not_wait_says_in_one_line_who_has_the_board(project: Project, words: tuple[str, ...]):
    refused = project.host(*words, "--devices", "pi1", "--wait", "0", "--quiet", code=1)
    (line,) = refused.stderr.splitlines()
    assert line.startswith("host: pi1: in use by bob@desk; ")
    assert "host devices unlock pi1" in line
