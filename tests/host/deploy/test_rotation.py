"""host deploy --rotate, cut off after each of its steps: whoever is left gets in, and doing it again finishes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from edgepareto.host import api
from edgepareto.host.api.deploying import DeployResult, DeployTask
from edgepareto.host.config import DeviceConfig, add_device, remove_device
from edgepareto.host.credentials import open_rotation, own_identity
from edgepareto.host.deploy import rotation
from edgepareto.host.deploy.agent_installer import Outcome
from edgepareto.host.errors import Refused, Unreachable
from edgepareto.host.fleet import probe
from fakes.deployable_board import DeployableBoard, deployable_board, give_wheels
from host.deploy.conftest import point_at_boards

# What the host does itself, in its order; the board's steps lie between.
OWN_STEPS = [
    ("edgepareto.host.deploy.rotation", "begin_rotation"),
    ("edgepareto.host.deploy.rotation", "visit_as"),
    ("edgepareto.host.deploy.rotation", "mark_moved"),
    ("edgepareto.host.deploy.rotation", "_forget"),
    ("edgepareto.host.deploy.rotation", "record_board"),
    ("edgepareto.host.credentials.rotation", "own_identity"),  # what finish_rotation does after its commit
]
TESTS = Path(__file__).parents[2]
MOST_COMMANDS = 20  # that one rotation runs on the board


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("EDGEPARETO_CONFIG", str(folder / "config"))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        point_at_boards(folder, patch)
        yield folder


@pytest.fixture(scope="module")
def pi1(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployableBoard]:
    """Installed, and its user's only board. Each test leaves it usable."""
    with installed_board(tmp_path_factory.mktemp("boards") / "pi1", home) as board:
        yield board


@contextmanager
def installed_board(folder: Path, home: Path) -> Iterator[DeployableBoard]:
    name = folder.name
    with deployable_board(folder, name, home) as board:
        add_device(name, board.entry)
        (result,) = api.deploy([name], wheelhouse=give_wheels(folder / "wheels", "1.0"))
        assert result.problem is None
        yield board
        remove_device(name)


def known(name: str = "pi1") -> DeviceConfig:
    return next(device for device in api.known_devices() if device.name == name)


def rotate(*names: str) -> dict[str, DeployResult]:
    return {result.name: result for result in api.deploy(names, task=DeployTask.ROTATE)}


def is_let_in(name: str = "pi1") -> bool:
    return probe(known(name)).board_id == known(name).board_id


def finishes(board: DeployableBoard, before: str) -> None:
    done = rotate("pi1")["pi1"].deployed
    assert done is not None
    assert done.outcome is Outcome.ROTATED
    me = own_identity()
    assert me.fingerprint != before
    assert open_rotation() is None
    assert is_let_in()
    assert board.script.owners() == {me.owner: me.fingerprint}


def test_a_rotation_makes_everything_new_and_the_old_is_let_in_no_more(
    pi1: DeployableBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = Path(os.environ["EDGEPARETO_CONFIG"])
    stolen = shutil.copytree(config, tmp_path / "stolen")
    before, key = own_identity().fingerprint, (pi1.credentials / "agent.key").read_bytes()
    finishes(pi1, before)
    assert (pi1.credentials / "agent.key").read_bytes() != key
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(stolen))
    with pytest.raises(Refused):
        probe(known())


def test_a_connection_lost_after_each_command_locks_nobody_out(pi1: DeployableBoard):
    for commands in range(1, MOST_COMMANDS):
        before = own_identity().fingerprint
        pi1.server.commands_until_cut = commands
        result = rotate("pi1")["pi1"]
        if result.problem is None:
            pi1.server.commands_until_cut = -1
            break
        assert "pi1: the SSH connection broke" in result.problem
        assert is_let_in()
        finishes(pi1, before)
    assert commands > 6  # who we are, what is there, two grants, the certificate, what is there now, two revocations


@pytest.mark.parametrize(("module", "step"), OWN_STEPS)
def test_a_host_killed_after_any_of_its_own_steps_is_not_locked_out(pi1: DeployableBoard, module: str, step: str):
    before = own_identity().fingerprint
    ran = subprocess.run(
        [sys.executable, "-m", "fakes.killed_host", module, step, "pi1"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert is_let_in()
    finishes(pi1, before)


def test_a_board_that_does_not_take_the_new_authority_keeps_the_old_one(
    pi1: DeployableBoard, monkeypatch: pytest.MonkeyPatch
):
    def refused(*given: object) -> None:
        raise Unreachable("pi1: no agent answers")

    before = own_identity().fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(rotation, "visit_as", refused)
        result = rotate("pi1")["pi1"]
    assert result.problem is not None
    assert "does not take the new authority (no agent answers); it has the old one again" in result.problem
    assert is_let_in()
    finishes(pi1, before)


def test_a_board_that_has_forgotten_the_old_authority_is_given_no_certificate_of_it(
    pi1: DeployableBoard, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def away(*given: object) -> None:
        raise Unreachable("pi1: no agent answers")

    before = own_identity().fingerprint
    with installed_board(tmp_path / "pi2", home):
        assert rotate("pi1")["pi1"].deployed is not None
        with monkeypatch.context() as patch:
            patch.setattr(rotation, "visit_as", away)
            problem = rotate("pi1")["pi1"].problem
        assert problem == "pi1: knows the new authority alone, and does not answer (no agent answers); run it again"
        assert is_let_in()
        opened = open_rotation()
        assert opened is not None
        assert known().board_id in opened.moved
        rotate("pi1", "pi2")
    finishes(pi1, before)


def test_a_board_that_is_switched_off_meanwhile_is_named_and_not_locked_out(
    pi1: DeployableBoard, home: Path, tmp_path: Path
):
    before = own_identity().fingerprint
    with installed_board(tmp_path / "pi2", home) as pi2:
        pi2.server.is_off = True
        pi2.stops()
        results = rotate("pi1", "pi2")
        assert results["pi2"].problem is not None
        assert results["pi2"].problem.startswith("pi2: ")
        moved = results["pi1"].deployed
        assert moved is not None
        assert "the rotation stays open for pi2: host deploy pi2 --rotate" in moved.notes
        assert own_identity().fingerprint == before
        pi2.server.is_off = False
        pi2.starts()
        assert is_let_in("pi1")
        assert is_let_in("pi2")
        done = rotate("pi2")["pi2"].deployed
        assert done is not None
        assert done.notes == ()
        me = own_identity()
        assert me.fingerprint != before
        for name, board in {"pi1": pi1, "pi2": pi2}.items():
            assert is_let_in(name)
            assert board.script.owners() == {me.owner: me.fingerprint}
