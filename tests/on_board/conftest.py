from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from on_board.emulated_board import EmulatedBoard, NoEmulatedBoard, built_board, running_board
from on_board.typing_user import Ran, User

SAID_AT_THE_END = pytest.StashKey[list[str]]()
EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"
LONGEST_DEPLOY_S = 900  # five times the bar of docs/benchmarks.md and a slow download
METER = ("--meter", "ina219", "--shunt-ohm", "0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What `host deploy` made of a bare board. listing_before: of the bare board."""

    board: EmulatedBoard
    user: User
    deploy: Ran
    listing_before: list[str]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SAID_AT_THE_END] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[SAID_AT_THE_END]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[EmulatedBoard]:
    """One for all tests: each goes back to how it was bare, or installed, in a second. Its meter shows its load."""
    try:
        built = built_board()
    except NoEmulatedBoard as why:
        pytestconfig.stash[SAID_AT_THE_END].append(f"skipped: no emulated board: {why}")
        pytest.skip(str(why))
    with running_board(built, tmp_path_factory.mktemp("board")) as board:
        board.save("bare", prepare=lambda: _has_a_meter(board))
        yield board


def _has_a_meter(board: EmulatedBoard) -> None:
    """Slowly: it takes the emulated cores from what is measured."""
    board.root("ina219-sim --cal 4096 --set 5.0 0.5 && systemd-run -q ina219-sim --load 0.5 0.2 --hz 4")


@pytest.fixture(scope="session")
def installation(
    emulated: EmulatedBoard, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Installed:
    emulated.go_back_to("bare")
    before = emulated.listing()
    user = User(config=tmp_path_factory.mktemp("config"), desk=tmp_path_factory.mktemp("desk"))
    # An emulated board shares its cores with everything else on this machine, and its user says so.
    user.adds(emulated, *METER, "--shared")
    began_s = time.monotonic()
    deploy = user.does("deploy", "pi1")
    took_s = time.monotonic() - began_s
    pytestconfig.stash[SAID_AT_THE_END].append(f"deploy of the bare board: {took_s:.0f} s, with gathering the packages")
    assert took_s < LONGEST_DEPLOY_S
    emulated.save("installed")
    return Installed(board=emulated, user=user, deploy=deploy, listing_before=before)


@pytest.fixture
def bare(emulated: EmulatedBoard) -> EmulatedBoard:
    emulated.go_back_to("bare")
    return emulated


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with a model and some data."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "model.onnx").write_bytes((EXAMPLE / "mobilenet.onnx").read_bytes())
    for name in ("calibration", "validation", "test"):
        with np.load(EXAMPLE / f"{name}.npz") as data:
            np.savez(folder / f"{name}.npz", **{key: data[key][:100] for key in data.files})
    (folder / "edgepareto.toml").write_text(
        'model = "model.onnx"\n[data]\ncalibration = "calibration.npz"\nvalidation = "validation.npz"\n'
        'test = "test.npz"\nscale = "1/255"\n'
    )
    return folder


@pytest.fixture
def newcomer(tmp_path: Path, desk: Path) -> User:
    """Has no boards yet."""
    return User(config=tmp_path / "config", desk=desk)


@pytest.fixture
def installed(installation: Installed, tmp_path: Path, desk: Path) -> Installed:
    """The board right after `host deploy`, and its user with all that they had then."""
    installation.board.go_back_to("installed")
    assert installation.user.config is not None
    config = shutil.copytree(installation.user.config, tmp_path / "config")
    return replace(installation, user=User(config=config, desk=desk))
