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
from edgepareto.host.credentials import begin_rotation, mark_moved, open_rotation, own_identity
from edgepareto.host.deploy.agent_installer import Outcome
from edgepareto.host.deploy.agent_state import grant_owner
from edgepareto.host.deploy.ssh import open_shell, ssh_target
from edgepareto.host.errors import DeployError, WrongUse
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


def test_what_a_power_cut_emptied_is_installed_again_unasked(pi1: DeployableBoard, wheels: Path):
    deployed(Outcome.INSTALLED, wheelhouse=wheels)
    for place in ("opt/edgepareto", "etc/edgepareto", "etc/systemd/system"):
        for path in (pi1.script.root / place).rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.truncate(path, 0)
    pi1.stops()
    deployed(Outcome.INSTALLED, wheelhouse=wheels)
    assert probe(api.known_devices()[0]).board_id == pi1.board_id


@pytest.mark.parametrize("name", ["agent.pem", "agent.key", "owners/*.pem"])
def test_one_credential_that_a_power_cut_emptied_is_replaced_unasked(pi1: DeployableBoard, wheels: Path, name: str):
    deployed(Outcome.INSTALLED, wheelhouse=wheels)
    (file,) = pi1.credentials.glob(name)
    os.truncate(file, 0)
    deployed(Outcome.UPGRADED, wheelhouse=wheels)
    assert probe(api.known_devices()[0]).board_id == pi1.board_id


@pytest.mark.parametrize("name", ["agent.pem", "agent.key"])
def test_a_certificate_that_was_emptied_takes_no_board_from_another_user(
    pi1: DeployableBoard, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    deployed(Outcome.INSTALLED, wheelhouse=wheels)
    os.truncate(pi1.credentials / name, 0)
    before = pi1.script.listing()
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(tmp_path / "bobs"))
    add_device("pi1", pi1.entry)
    assert "was installed by another user" in refused(wheelhouse=wheels)
    assert pi1.script.listing() == before


def test_a_script_on_the_board_that_was_emptied_grants_nothing_and_says_so(
    pi1: DeployableBoard, wheels: Path, tmp_path: Path
):
    deployed(Outcome.INSTALLED, wheelhouse=wheels)
    script = pi1.script.root / "opt/edgepareto/install-agent.sh"
    with open_shell(ssh_target(api.known_devices()[0]), ask=None) as shell:
        script.write_text("#!/bin/sh\n")
        with pytest.raises(DeployError, match="grant on the board failed: without a word"):
            grant_owner(shell, "bob", own_identity().ca_pem)
        os.truncate(script, 0)
        with pytest.raises(DeployError, match="no agent is installed on this board; host deploy installs it"):
            grant_owner(shell, "bob", own_identity().ca_pem)


def test_a_board_flashed_anew_in_a_rotation_has_not_moved_any_more(pi1: DeployableBoard, wheels: Path):
    """Else the end of the rotation would lock the user out of it."""
    begin_rotation()
    mark_moved(pi1.board_id)
    deployed(Outcome.INSTALLED, wheelhouse=wheels)
    rotation = open_rotation()
    assert rotation is not None
    assert rotation.moved == frozenset()


def test_nor_has_one_whose_deploy_ends_half_way(pi1: DeployableBoard, wheels: Path):
    begin_rotation()
    mark_moved(pi1.board_id)
    pi1.script.trip("python -m compileall*")
    refused(wheelhouse=wheels)
    rotation = open_rotation()
    assert rotation is not None
    assert rotation.moved == frozenset()


def test_two_names_of_one_board_are_told_before_it_is_touched(pi1: DeployableBoard, wheels: Path):
    add_device("again", pi1.entry)
    with pytest.raises(WrongUse, match=r"pi1 and again are the same board, pi@127\.0\.0\.1; name one of them"):
        api.deploy(["pi1", "again"], wheelhouse=wheels)


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
