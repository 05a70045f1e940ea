"""Boards that are somebody else's, broken, flashed anew, or given up half way: what deploy and remove make of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgepareto.host import api
from edgepareto.host.api.deploying import DeployResult, DeployTask
from edgepareto.host.config import add_device
from edgepareto.host.credentials import begin_rotation, mark_moved, open_rotation
from edgepareto.host.deploy.agent_installer import Outcome
from edgepareto.host.fleet import probe
from fakes.deployable_board import DeployableBoard, deployable_board, give_wheels


@pytest.fixture
def pi1(here: Path, tmp_path: Path) -> Iterator[DeployableBoard]:
    with deployable_board(tmp_path / "pi1", "pi1", here) as board:
        add_device("pi1", board.entry)
        yield board


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    return give_wheels(tmp_path / "wheels", "1.0")


def deployed(outcome: Outcome, **asked: object) -> None:
    (result,) = api.deploy(["pi1"], **asked)  # type: ignore[arg-type]
    assert result.deployed is not None, result.problem
    assert result.deployed.outcome is outcome


def refused(**asked: object) -> str:
    result: DeployResult
    (result,) = api.deploy(["pi1"], **asked)  # type: ignore[arg-type]
    assert result.problem is not None
    return result.problem


def test_a_board_of_another_user_is_neither_removed_nor_taken_over_unasked(
    pi1: DeployableBoard, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    deployed(Outcome.INSTALLED, wheelhouse=wheels)
    before = pi1.script.listing()
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(tmp_path / "bobs"))
    add_device("pi1", pi1.entry)
    assert "was installed by another user" in refused(task=DeployTask.REMOVE)
    assert "was installed by another user" in refused(wheelhouse=wheels)
    assert pi1.script.listing() == before
    deployed(Outcome.REMOVED, task=DeployTask.REMOVE, is_sure=True)


def test_a_certificate_that_cannot_be_read_is_replaced_and_hinders_no_removal(pi1: DeployableBoard, wheels: Path):
    deployed(Outcome.INSTALLED, wheelhouse=wheels)
    (pi1.credentials / "agent.pem").write_text("no certificate\n")
    assert "neither of the old nor of the new authority" in refused(task=DeployTask.ROTATE)
    deployed(Outcome.UPGRADED, wheelhouse=wheels)
    assert probe(api.known_devices()[0]).board_id == pi1.board_id
    (pi1.credentials / "agent.pem").write_text("no certificate\n")
    deployed(Outcome.REMOVED, task=DeployTask.REMOVE)


def test_a_board_flashed_anew_in_a_rotation_has_not_moved_any_more(pi1: DeployableBoard, wheels: Path):
    """Else the end of the rotation would lock the user out of it."""
    begin_rotation()
    mark_moved(pi1.board_id)
    deployed(Outcome.INSTALLED, wheelhouse=wheels)
    rotation = open_rotation()
    assert rotation is not None
    assert rotation.moved == frozenset()


def test_ctrl_c_in_the_middle_puts_the_board_back_before_the_command_ends(pi1: DeployableBoard, wheels: Path):
    before = pi1.script.listing()
    pi1.script.trip("python -m compileall*", hang=True)

    def interrupt() -> None:
        deadline_s = time.monotonic() + 60
        while not pi1.script.was_tripped() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        api.deploy(["pi1"], wheelhouse=wheels)
    assert pi1.script.was_tripped()
    assert pi1.script.listing() == before
    assert not list(Path("/var/tmp").glob("edgepareto-*/files"))


def test_a_connection_that_ends_in_the_middle_is_one_line_and_the_board_puts_itself_back(
    pi1: DeployableBoard, wheels: Path
):
    before = pi1.script.listing()
    pi1.script.trip("python -m compileall*", hang=True)

    def cut() -> None:
        _until(pi1.script.was_tripped)
        for transport in pi1.server.transports:
            transport.close()

    threading.Thread(target=cut, daemon=True).start()
    said = refused(wheelhouse=wheels)
    assert said.startswith("pi1: the SSH connection broke")
    assert said.count("pi1: ") == 1
    assert said.endswith("the board puts back what was done, at the latest when it is run again")
    _until(lambda: pi1.script.listing() == before)


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
