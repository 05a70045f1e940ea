from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from edgepareto.agent.power import METER_KINDS as AGENT_METER_KINDS
from edgepareto.agent.runtime.registry import RUNTIME_NAMES
from edgepareto.agent.simulation.faults import FAULT_NAMES
from edgepareto.host.config import (
    METER_KINDS,
    DeviceConfig,
    Flags,
    add_device,
    inventory_file,
    read_known,
    read_settings,
    record_board,
    remove_device,
    starting_file,
)
from edgepareto.host.config.values import FAULTS, RUNTIMES, SIMULATED_BOARDS
from edgepareto.host.domain.deployment import ON_A_DEVICE
from edgepareto.host.errors import ConfigError

PI1 = 'ssh = "pi@192.168.1.20"\n'


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "config"
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "edgepareto.toml"


def device(name: str, project: Path | None = None) -> DeviceConfig:
    (found,) = read_settings(project, Flags(devices=(name,))).devices
    return found


def test_a_board_that_was_added_is_known_in_every_folder(config: Path):
    entry = {"ssh": "pi@192.168.1.20", "port": 2222, "meter": "ina219", "shunt_ohm": 0.1, "shared": True}
    added = add_device("pi1", entry)
    assert added.shared is True
    assert added == device("pi1")
    assert (added.ssh_port, added.address, added.meter, added.shunt_ohm) == (2222, "192.168.1.20:50051", "ina219", 0.1)
    assert added.origin == inventory_file() == config / "devices.toml"


def test_a_project_sets_keys_of_the_users_board_and_replaces_another_device(project: Path):
    add_device("pi1", {"ssh": "pi@192.168.1.20", "board_id": "0a1b", "threads": 4, "group": "pi4"})
    project.write_text("[devices.pi1]\nthreads = 2\n")
    assert (device("pi1", project).board_id, device("pi1", project).threads) == ("0a1b", 2)
    project.write_text(f"[devices.pi1]\n{PI1}threads = 2\n")
    assert (device("pi1", project).board_id, device("pi1", project).threads) == ("0a1b", 2)
    for other in ('simulate = "raspberry-pi-5"', "local = true", 'address = "127.0.0.1:1"', 'ssh = "pi@10.0.0.9"'):
        project.write_text(f"[devices.pi1]\n{other}\n")
        replaced = device("pi1", project)
        assert (replaced.board_id, replaced.threads, replaced.group, replaced.origin) == (None, None, None, project)


def test_without_a_choice_only_the_projects_devices_are_searched(project: Path):
    add_device("pi1", {"ssh": "pi@192.168.1.20"})
    add_device("pi2", {"ssh": "pi@192.168.1.21"})
    project.write_text('[devices.sim]\nsimulate = "raspberry-pi-4b"\n[devices.pi2]\nthreads = 2\n')
    settings = read_settings(project, Flags())
    assert [d.name for d in settings.devices] == ["sim", "pi2"]
    assert [d.name for d in settings.known] == ["sim", "pi2", "pi1", "local"]
    assert read_settings(None, Flags()).devices == ()


def test_a_group_stands_for_all_its_boards_and_a_devices_own_name_wins(project: Path):
    for number in (1, 2):
        add_device(f"pi{number}", {"ssh": f"pi@10.0.0.{number}", "group": "pi4"})
    assert [d.name for d in read_settings(None, Flags(devices=("pi4",))).devices] == ["pi1", "pi2"]
    with pytest.raises(ConfigError, match="pi1 is named twice"):
        read_settings(None, Flags(devices=("pi4", "pi1")))
    project.write_text('[devices.pi4]\nsimulate = "raspberry-pi-4b"\n')
    assert device("pi4", project).simulate == "raspberry-pi-4b"
    with pytest.raises(ConfigError, match=r"known are pi1, pi2, local, groups pi4, or give HOST:PORT"):
        read_settings(None, Flags(devices=("jetson",)))


def test_the_agents_address_is_that_of_the_ssh_alias(tmp_path: Path, project: Path):
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "config").write_text("Include lab\nHost *\n")
    (tmp_path / "home" / ".ssh" / "lab").write_text("Host bench\n  HostName 10.1.2.3\n  User pi\n")
    assert add_device("a", {"ssh": "bench"}).address == "10.1.2.3:50051"
    assert add_device("b", {"ssh": "pi@2001:db8::1"}).address == "[2001:db8::1]:50051"
    assert add_device("c", {"ssh": "pi@bench", "address": "127.0.0.1:50052"}).address == "127.0.0.1:50052"
    (tmp_path / "home" / ".ssh" / "config").write_text("Host x\n  HostName y\nMatch exec false\n  User z\nHost\n")
    assert device("a").address == "bench:50051"


def test_what_somebody_wrote_into_the_file_stays(config: Path):
    config.mkdir()
    inventory_file().write_text(f"# the rack\n[devices.pi1] # left\n{PI1}threads = 2   # not 4\n")
    add_device("pi2", {"ssh": "pi@10.0.0.2"})
    record_board(device("pi1"), board_id="0a1b")
    remove_device("pi2")
    assert inventory_file().read_text() == (
        f'# the rack\n[devices.pi1] # left\n{PI1}threads = 2   # not 4\nboard_id = "0a1b"\n'
    )


def test_deploy_remembers_a_board_that_only_a_project_names(project: Path):
    project.write_text(f"[devices.pi1]\n{PI1}port = 2222\nthreads = 2\n")
    record_board(device("pi1", project), board_id="0a1b")
    assert (device("pi1", project).board_id, device("pi1", project).threads) == ("0a1b", 2)
    assert (device("pi1").board_id, device("pi1").ssh_port, device("pi1").threads) == ("0a1b", 2222, None)
    record_board(device("pi1", project), board_id=None)
    assert device("pi1").board_id is None
    add_device("pi1", {"ssh": "pi@10.0.0.9"}, replace=True)
    with pytest.raises(ConfigError, match=r"pi1: is pi@192\.168\.1\.20 in .*, and another board in "):
        record_board(device("pi1", project), board_id="0a1b")


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        ("pi1", {"ssh": "pi@10.0.0.2"}, "device pi1 exists in .*devices.toml; .*--replace"),
        ("local", {"ssh": "pi@10.0.0.2"}, "device local: is always this machine"),
        ("pi 2", {"ssh": "pi@10.0.0.2"}, "a device's name is letters, digits, - and _"),
        ("pi2", {"ssh": "pi@10.0.0.2:22"}, r"^pi@10\.0\.0\.2:22: the port of SSH stands apart: --port N"),
        ("pi2", {"ssh": "-oProxyCommand=x"}, "must read USER@HOST, or an alias"),
        ("pi2", {"ssh": "pi@[::1]"}, "an IPv6 address without brackets"),
        ("pi2", {"ssh": "pi@b", "port": 0}, "--port 0: must be a whole number, 1 or more"),
        ("pi2", {"ssh": "pi@b", "meter": "ina226"}, "--meter ina226: is not known; choose auto, ina219"),
        ("pi2", {"ssh": "pi@b", "shunt_ohm": -1.0}, "--shunt-ohm -1.0: must be a number, more than 0"),
        ("pi2", {"ssh": "pi@b", "address": "b"}, "--address b: must read HOST:PORT"),
        ("p" * 65, {"ssh": "pi@b"}, "letters, digits, - and _, at most 64"),
        ("pi2", {"ssh": "pi@a..b"}, r"^pi@a\.\.b: must read USER@HOST"),
        ("pi2", {"ssh": "pi@" + "b" * 64}, "must read USER@HOST"),
        ("pi2", {"ssh": "pi@b", "address": "\x1b[31m:50051"}, "must read HOST:PORT"),
        ("pi2", {"ssh": "pi@b", "address": "[::g]:50051"}, "must read HOST:PORT"),
        ("pi2", {"ssh": "pi@b", "address": "a..b:50051"}, "must read HOST:PORT"),
        ("pi2", {"ssh": "pi@b", "address": "unix:/x"}, "a board is dialled at HOST:PORT"),
        ("pi2", {"address": "unix:/x", "board_id": "0a1b"}, "a board is dialled at HOST:PORT"),
        ("pi2", {"ssh": "pi@b", "key": "~no.such.user/id"}, "--key ~no.such.user/id: there is no such home folder"),
        ("pi2", {"ssh": "pi@b", "host_key": "MD5:1"}, "--host-key MD5:1: must read SHA256:"),
        ("pi2", {}, "device pi2 needs exactly one of simulate"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_file_stays_as_it_was(name: str, entry: dict[str, object], words: str):
    add_device("pi1", {"ssh": "pi@10.0.0.1"})
    before = inventory_file().read_bytes()
    with pytest.raises(ConfigError, match=words):
        add_device(name, entry)
    assert inventory_file().read_bytes() == before


def test_a_mistake_in_the_users_file_is_told_with_its_place(config: Path, project: Path):
    config.mkdir()
    for text, words in {
        f"[devices.pi1]\n{PI1}prot = 22\n": r"devices\.toml:3: .* prot is not a setting; did you mean port",
        "[device.pi1]\n": "device is not a setting; did you mean devices",
        "[devices.pi1]\nthreads = 2\n": r"devices\.toml:1: \[devices\] pi1: needs exactly one of",
        "[devices": "is no TOML",
        "x = " + "[" * 5000: r"devices\.toml: is no TOML that anybody wrote: nested too deeply",
        "x = " + "9" * 5000: r"devices\.toml:1: is no TOML: exceeds the limit",
    }.items():
        inventory_file().write_text(text)
        with pytest.raises(ConfigError, match=words):
            read_settings(None, Flags())
        with pytest.raises(ConfigError, match=words):
            add_device("pi2", {"ssh": "pi@b"})
    inventory_file().write_text(f"[devices.pi1]\n{PI1}threads = 2\n")
    project.write_text("[devices.pi1]\nport = 70000\n")
    with pytest.raises(ConfigError, match=r"edgepareto\.toml:2: .*port = 70000"):
        read_settings(project, Flags())


def test_without_a_home_there_is_no_inventory_and_nothing_is_written_elsewhere(tmp_path: Path, monkeypatch):
    """As in a container whose user id has no name."""
    for variable in ("HOME", "EDGEPARETO_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54_321)
    monkeypatch.chdir(tmp_path)
    assert [d.name for d in read_settings(None, Flags()).known] == ["local"]
    with pytest.raises(ConfigError, match="no home folder; set HOME, or EDGEPARETO_CONFIG to a folder"):
        add_device("pi1", {"ssh": "pi@b"})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_changed_in_place_is_told(config: Path):
    config.mkdir()
    inventory_file().write_text('devices = {pi1 = {ssh = "pi@b"}}\n')
    with pytest.raises(ConfigError, match=r"cannot be changed \(.*\); write each device as \[devices.NAME\]"):
        add_device("pi2", {"ssh": "pi@c"})
    assert [d.name for d in read_settings(None, Flags()).known] == ["pi1", "local"]


def test_writers_that_start_at_once_lose_nothing():
    program = (
        "import sys; from edgepareto.host.config import add_device; "
        "add_device(sys.argv[1], {'ssh': 'pi@' + sys.argv[1]})"
    )
    names = [f"pi{number}" for number in range(6)]
    for process in [subprocess.Popen([sys.executable, "-c", program, name]) for name in names]:
        assert process.wait() == 0
    assert sorted(d.name for d in read_settings(None, Flags()).known) == ["local", *names]


def test_a_new_project_takes_no_name_of_the_users_and_means_the_same_to_a_colleague(project: Path):
    add_device("pi1", {"ssh": "pi@192.168.1.20"})
    project.write_text(starting_file("net.onnx", ["pi1", "local"]))
    simulated = [("simulated-pi1", "raspberry-pi-4b"), ("jetson2", "jetson-orin-nano")]
    assert [(d.name, d.simulate) for d in read_settings(project, Flags()).devices] == simulated
    assert device("pi1", project).ssh == "pi@192.168.1.20"
    remove_device("pi1")
    assert [(d.name, d.simulate) for d in read_settings(project, Flags()).devices] == simulated


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("", r"^edgepareto\.toml:1: \[devices\] pi1: is no board of yours yet: host devices add pi1 USER@HOST; or say"),
        ("threads = 2", "host devices add pi1 USER@HOST"),
        ("thraeds = 2", "did you mean threads"),
        ('ssh = "pi@a b"', "must read USER@HOST"),
        ('simulate = "raspberry-pi-4b"\nlocal = true', "needs exactly one of"),
    ],
)
def test_a_projects_entry_that_is_wrong_is_told_where_it_is_used(project: Path, entry: str, words: str):
    project.write_text(f'[devices.pi1]\ngroup = "pis"\n{entry}\n[devices.sim]\nsimulate = "raspberry-pi-4b"\n')
    assert device("sim", project).simulate == "raspberry-pi-4b"
    pi1, *others = read_known(project)
    assert (pi1.name, pi1.origin, [d.name for d in others]) == ("pi1", project, ["sim", "local"])
    for choice in (Flags(devices=("pi1",)), Flags(devices=("pis",)), Flags()):
        with pytest.raises(ConfigError, match=words):
            read_settings(project, choice)


def test_a_project_that_names_a_colleagues_board_works_once_it_is_added(project: Path):
    project.write_text("[devices.pi1]\nthreads = 2\n")
    add_device("pi1", {"ssh": "pi@10.0.0.1"})
    assert (device("pi1", project).ssh, device("pi1", project).threads) == ("pi@10.0.0.1", 2)


def test_a_name_that_is_not_there_cannot_be_removed():
    add_device("pi1", {"ssh": "pi@b"})
    with pytest.raises(ConfigError, match=r"pi2 is not in .*devices\.toml; known there: pi1; did you mean pi1"):
        remove_device("pi2")


def test_the_names_that_a_user_may_choose_are_the_agents():
    assert ("auto", *AGENT_METER_KINDS) == METER_KINDS
    assert FAULT_NAMES == FAULTS
    assert tuple(ON_A_DEVICE) == RUNTIMES
    assert {name for name, _ in ON_A_DEVICE.values()} == set(RUNTIME_NAMES)
    boards = (files("edgepareto.agent.simulation") / "boards").iterdir()
    assert tuple(sorted(board.name.removesuffix(".toml") for board in boards)) == SIMULATED_BOARDS


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_device_may_be_run_by_any_runtime_that_an_agent_knows(runtime: str):
    add_device("jetson1", {"ssh": "me@b", "runtime": runtime})
    (known,) = (device for device in read_known(None) if device.name == "jetson1")
    assert known.runtime == runtime


def test_a_board_without_ssh_cannot_be_recorded():
    with pytest.raises(ConfigError, match="has no ssh"):
        record_board(replace(DeviceConfig(name="pi1"), address="127.0.0.1:1"), board_id="0a1b")
