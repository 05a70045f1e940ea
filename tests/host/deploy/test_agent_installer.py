"""host deploy against boards whose SSH, script, credentials and agent are real."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.host import api
from edgepareto.host.__main__ import main
from edgepareto.host.api.deploying import DeployResult, DeployTask
from edgepareto.host.config import DeviceConfig, add_device
from edgepareto.host.deploy import agent_installer
from edgepareto.host.deploy.agent_installer import Outcome
from edgepareto.host.errors import DeviceError
from edgepareto.host.fleet import probe
from edgepareto.host.fleet.channel import channel_for, open_stub
from edgepareto.profiler.v1 import profiler_pb2 as pb
from fakes.deployable_board import DeployableBoard, deployable_board, give_wheels
from host.deploy.conftest import Person

ELSEWHERE = 's|^listen = .*|listen = "127.0.0.1:0"|'
HELD = "as bob@desk net, whose batch would be lost; wait, or go on with --yes"
WITHOUT_US = "s|/etc/edgepareto/credentials|/strangers|"


@pytest.fixture
def boards(here: Path, tmp_path: Path) -> Iterator[dict[str, DeployableBoard]]:
    """pi1, pi2 and pi3, in the inventory, with nothing installed."""
    with ExitStack() as stack:
        made = {}
        for name in ("pi1", "pi2", "pi3"):
            made[name] = stack.enter_context(deployable_board(tmp_path / name, name, here))
            add_device(name, made[name].entry)
        yield made


@pytest.fixture
def pi1(boards: dict[str, DeployableBoard]) -> DeployableBoard:
    return boards["pi1"]


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return give_wheels(tmp_path / "first", "1.0")


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return give_wheels(tmp_path / "second", "2.0")


def one(**asked: object) -> DeployResult:
    (result,) = api.deploy(["pi1"], **asked)  # type: ignore[arg-type]
    return result


def known(name: str = "pi1") -> DeviceConfig:
    return next(device for device in api.known_devices() if device.name == name)


def problem(result: DeployResult) -> str:
    assert result.deployed is None
    assert result.problem is not None
    assert "\n" not in result.problem
    return result.problem


def test_a_bare_board_is_installed_and_answers_over_mutual_tls(pi1: DeployableBoard, first: Path):
    done = one(wheelhouse=first)
    assert done.deployed is not None, done.problem
    assert done.deployed.outcome is Outcome.INSTALLED
    assert known().board_id == pi1.board_id
    assert probe(known()).board_id == pi1.board_id
    before = pi1.script.listing()
    again = one(wheelhouse=first)
    assert again.deployed is not None
    assert again.deployed.outcome is Outcome.UNCHANGED
    assert pi1.script.listing() == before


@pytest.mark.parametrize("between", [ELSEWHERE, WITHOUT_US])
def test_a_first_agent_that_is_not_reached_from_here_leaves_nothing(
    pi1: DeployableBoard, first: Path, between: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agent_installer, "ANSWER_S", 1.0)
    _strangers(pi1)
    before = pi1.script.listing()
    pi1.changed(between)
    assert "pi1: the agent runs, but from here" in problem(one(wheelhouse=first))
    assert pi1.script.listing() == before
    assert not pi1.agent_runs()
    assert list(pi1.home.iterdir()) == []
    assert known().board_id is None


@pytest.mark.parametrize("between", [ELSEWHERE, WITHOUT_US])
def test_an_upgrade_that_is_not_reached_from_here_ends_with_the_old_agent(
    pi1: DeployableBoard, first: Path, second: Path, between: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agent_installer, "ANSWER_S", 1.0)
    _strangers(pi1)
    assert one(wheelhouse=first).deployed is not None
    before = pi1.script.listing()
    pi1.changed_for_new_releases(between)
    assert "the board is as it was" in problem(one(task=DeployTask.UPGRADE, wheelhouse=second))
    assert pi1.script.listing() == before
    assert probe(known()).board_id == pi1.board_id
    pi1.changed("")
    upgraded = one(task=DeployTask.UPGRADE, wheelhouse=second).deployed
    assert upgraded is not None
    assert upgraded.outcome is Outcome.UPGRADED


def test_of_several_boards_each_one_goes_its_own_way(boards: dict[str, DeployableBoard], first: Path):
    boards["pi1"].tells(memory_kb="200000")
    boards["pi2"].script.trip("python -I -c*install*")
    before = {name: board.script.listing() for name, board in boards.items()}
    results = {result.name: result for result in api.deploy(["pi1", "pi2", "pi3"], wheelhouse=first)}
    assert "pi1: memory" in problem(results["pi1"])
    assert "pi2: the packages cannot be installed" in problem(results["pi2"])
    assert results["pi3"].problem is None
    assert probe(known("pi3")).board_id == boards["pi3"].board_id
    for name in ("pi1", "pi2"):
        assert boards[name].script.listing() == before[name]
        assert known(name).board_id is None


def test_a_board_that_is_held_is_upgraded_with_yes_alone(pi1: DeployableBoard, first: Path, second: Path):
    one(wheelhouse=first)
    with channel_for(known()) as channel:
        assert open_stub(channel).AcquireLease(pb.AcquireLeaseRequest(owner="bob@desk net", ttl_s=60)).granted
    before = pi1.script.listing()
    assert HELD in problem(one(task=DeployTask.UPGRADE, wheelhouse=second))
    assert HELD in problem(one(task=DeployTask.REMOVE))
    assert pi1.script.listing() == before
    assert one(task=DeployTask.UPGRADE, wheelhouse=second, is_sure=True).deployed is not None


def test_a_clock_that_was_wrong_is_set_and_told(pi1: DeployableBoard, first: Path):
    pi1.tells(clock="1000000000")
    done = one(wheelhouse=first).deployed
    assert done is not None
    assert [note for note in done.notes if "clock was" in note and "slow and was set" in note]
    assert (pi1.script.fake / "clock").read_text().startswith("@")


def test_removal_leaves_nothing_on_the_board_and_no_id_here(pi1: DeployableBoard, first: Path):
    before = pi1.script.listing()
    one(wheelhouse=first)
    assert one(task=DeployTask.REMOVE).deployed is not None
    assert pi1.script.listing() == before
    assert not pi1.agent_runs()
    assert known().board_id is None
    with pytest.raises(DeviceError, match="host deploy pi1"):
        probe(known())


def test_three_wrong_sudo_passwords_end_in_one_line_and_leave_the_board_as_it_was(
    pi1: DeployableBoard, first: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    programs = pi1.script.fake / "bin"
    (programs / "sudo").write_text('#!/bin/sh\necho "sudo: 1 incorrect password attempt" >&2\nexit 1\n')
    (programs / "id").write_text("#!/bin/sh\necho 1000\n")
    (programs / "id").chmod(0o755)
    before = pi1.script.listing()
    person = Person(secrets=["a-wrong-one"] * 5)
    monkeypatch.setattr("edgepareto.host.cli.deploy.person_here", lambda: person)
    assert main(["deploy", "pi1", "--wheelhouse", str(first), "--quiet"]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "",
        "host: pi1: sudo did not accept the password of pi; nothing was changed; run it again, and if pi may not use "
        "sudo: an administrator there runs sudo usermod -aG sudo pi\n",
    )
    assert person.heard == ["pi1: sudo password of pi: "] * 3
    assert pi1.script.listing() == before
    assert known().board_id is None


def _strangers(board: DeployableBoard) -> None:
    """Credentials that are sound, of somebody else's."""
    from fakes.certificates import Authority, write_credentials

    bob = Authority("bob")
    write_credentials(board.script.root / "strangers", bob.board(f"{board.board_id}.board.edgepareto"), {"bob": bob})


def test_what_deploy_is_told_of_a_board_is_known_the_next_time(pi1: DeployableBoard, first: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    done = one(wheelhouse=first, meter="ina219", shunt_ohm=0.05, agent_port=port)
    assert done.problem is None
    assert (known().meter, known().shunt_ohm, known().address) == ("ina219", 0.05, f"127.0.0.1:{port}")
    assert probe(known()).board_id == pi1.board_id
    again = one(wheelhouse=first).deployed
    assert again is not None
    assert again.outcome is Outcome.UNCHANGED
    assert one(wheelhouse=first, meter="auto").problem is None
    assert (known().meter, known().shunt_ohm) == (None, None)
    assert 'kind = "auto"' in (pi1.script.root / "etc/edgepareto/agent.toml").read_text()


def test_a_setting_that_fails_is_not_kept(pi1: DeployableBoard, first: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agent_installer, "ANSWER_S", 1.0)
    pi1.changed(ELSEWHERE)
    before = known()
    problem(one(wheelhouse=first, meter="ina219", agent_port=50_999))
    assert known() == before


def test_settings_of_a_board_that_is_held_stay(pi1: DeployableBoard, first: Path):
    one(wheelhouse=first)
    with channel_for(known()) as channel:
        assert open_stub(channel).AcquireLease(pb.AcquireLeaseRequest(owner="bob@desk net", ttl_s=60)).granted
    assert HELD in problem(one(wheelhouse=first, meter="ina219"))


def test_a_board_that_is_held_is_left_alone_before_ssh_loads_it(pi1: DeployableBoard, first: Path):
    one(wheelhouse=first)
    with channel_for(known()) as channel:
        assert open_stub(channel).AcquireLease(pb.AcquireLeaseRequest(owner="bob@desk net", ttl_s=60)).granted
    pi1.server.ran.clear()
    assert HELD in problem(one(wheelhouse=first))
    assert HELD in problem(one(task=DeployTask.ROTATE))
    assert pi1.server.ran == []


def test_that_a_board_is_shared_is_known_the_next_time_and_written_there(pi1: DeployableBoard, first: Path):
    file = pi1.script.root / "etc/edgepareto/agent.toml"
    assert one(wheelhouse=first, shared=True).problem is None
    assert known().shared is True
    assert "\nshared = true\n" in file.read_text().partition("[")[0]
    again = one(wheelhouse=first).deployed
    assert again is not None
    assert again.outcome is Outcome.UNCHANGED
    assert one(wheelhouse=first, shared=False).problem is None
    assert "\nshared = false\n" in file.read_text()


def test_an_agent_that_says_another_version_than_is_installed_is_no_unchanged_one(
    pi1: DeployableBoard, first: Path, monkeypatch: pytest.MonkeyPatch
):
    one(wheelhouse=first)
    honest = agent_installer.probe
    monkeypatch.setattr(agent_installer, "probe", lambda device: replace(honest(device), agent_version="0.0.9"))
    assert "pi1: its agent says that it is 0.0.9, installed is" in problem(one(wheelhouse=first))


def test_a_release_whose_agent_was_exchanged_is_put_in_place_again(pi1: DeployableBoard, first: Path):
    one(wheelhouse=first)
    spoiled = pi1.script.root / "opt/edgepareto/current/lib/python3.11/site-packages/edgepareto-0.0.9.dist-info"
    spoiled.mkdir(parents=True)
    pi1.tells(agent_release="x", agent_version="0.0.9")
    assert "0.0.9, which is not whole, is installed" in problem(one(wheelhouse=first))
    before = pi1.script.listing()
    pi1.script.trip("systemctl restart edgepareto-agent*")
    assert "the board is as it was" in problem(one(task=DeployTask.UPGRADE, wheelhouse=first))
    assert pi1.script.listing() == before
    assert one(task=DeployTask.UPGRADE, wheelhouse=first).problem is None
    assert not spoiled.exists()
    again = one(wheelhouse=first).deployed
    assert again is not None
    assert again.outcome is Outcome.UNCHANGED


def test_a_board_where_nothing_changes_is_sent_nothing(pi1: DeployableBoard, first: Path):
    told: list[str] = []

    class Report:
        def step(self, text: str) -> None:
            told.append(text)

        def progress(self, done_bytes: int, all_bytes: int) -> None:
            told.append("sending")

        def checks(self, checks: object) -> None: ...

    one(wheelhouse=first)
    one(wheelhouse=first, report_for=lambda name: Report())
    assert "comparing, nothing to send" in told
    assert "sending" not in told


def test_clock_modes_of_a_projects_file_are_installed_where_they_can_be_and_refused_where_not(
    pi1: DeployableBoard, first: Path, tmp_path: Path
):
    file = tmp_path / "edgepareto.toml"
    file.write_text('[devices.pi1]\nclock_modes = ["performance", "1500MHz"]\n')
    assert problem(one(wheelhouse=first, settings=file)) == (
        "pi1: clock modes: no cpufreq: its clocks cannot be set, as in most virtual machines: take clock_modes out of "
        "[devices.NAME]"
    )
    assert not (pi1.script.root / "opt/edgepareto").exists()
    pi1.tells(cpufreq="ondemand")
    installed = one(wheelhouse=first, settings=file).deployed
    assert installed is not None
    assert (pi1.script.root / "etc/edgepareto/clock-modes").read_text() == "performance\n1500MHz\n"
    (note,) = [note for note in installed.notes if "clock mode" in note]
    assert note == "its agent does not offer clock mode performance, 1500MHz: host devices logs pi1 says why"
