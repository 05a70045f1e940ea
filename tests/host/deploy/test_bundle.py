"""What is sent to a board."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from edgepareto.host.credentials.certificates import make_authority, make_board_pair
from edgepareto.host.deploy import bundle
from edgepareto.host.deploy.bundle import Settings, bundle_files, folders_of
from edgepareto.host.deploy.wheelhouse import Wheel, Wheelhouse
from edgepareto.host.errors import DeployError

SETTINGS = Settings(interpreter="/usr/bin/python3", port=50051, meter="ina219", shunt_ohm=0.1)
CA = make_authority("ann@desk")
PAIR = make_board_pair("b0a4d", CA)


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Wheelhouse:
    made = []
    for name, size in (
        ("pip-26.0-py3-none-any.whl", 20),
        ("big-1.0-py3-none-any.whl", 300),
        ("small-1-py3-none-any.whl", 10),
    ):
        (tmp_path / name).write_bytes(b"w" * size)
        digest = hashlib.sha256(b"w" * size).hexdigest()
        made.append(Wheel(name=name, file=tmp_path / name, sha256=digest, size=size))
    return Wheelhouse(wheels=tuple(made[1:]), installer=made[0], agent_version="1.2", python="3.11")


def contents(wheelhouse: Wheelhouse, *, with_credentials: bool = False) -> dict[str, bytes]:
    credentials = (PAIR, "ann@desk", CA.certificate_pem) if with_credentials else None
    files = bundle_files(wheelhouse, SETTINGS, credentials=credentials)
    return {file.name: file.source if isinstance(file.source, bytes) else file.source.read_bytes() for file in files}


def test_the_board_gets_its_own_key_and_no_other(wheelhouse: Wheelhouse):
    sent = contents(wheelhouse, with_credentials=True)
    assert [name for name, content in sent.items() if re.search(rb"BEGIN [A-Z ]*PRIVATE KEY", content)] == [
        "credentials/agent.key"
    ]
    assert sent["credentials/agent.key"] == PAIR.key_pem
    assert sent["credentials/owners/ann@desk.pem"] == CA.certificate_pem


def test_a_board_that_keeps_its_credentials_gets_none(wheelhouse: Wheelhouse):
    assert not [name for name in contents(wheelhouse) if name.startswith("credentials")]


def test_settings_are_lines_that_the_script_reads(wheelhouse: Wheelhouse):
    conf = contents(wheelhouse)["bundle.conf"].decode()
    told = dict(line.split("=", 1) for line in conf.splitlines())
    assert told["release"] == wheelhouse.release
    assert told["installer_sha256"] == wheelhouse.installer.sha256
    assert "shared" not in told
    assert (told["port"], told["meter"], told["shunt_ohm"]) == ("50051", "ina219", "0.1")


def test_clock_modes_are_one_line_and_no_line_where_there_are_none(wheelhouse: Wheelhouse):
    assert b"clock_modes" not in contents(wheelhouse)["bundle.conf"]
    files = bundle_files(wheelhouse, replace(SETTINGS, clock_modes=("performance", "1500MHz")), credentials=None)
    conf = next(file.source for file in files if file.name == "bundle.conf")
    assert isinstance(conf, bytes)
    assert "clock_modes=performance 1500MHz" in conf.decode().splitlines()


def test_small_files_go_first_and_every_folder_is_named(wheelhouse: Wheelhouse):
    files = bundle_files(wheelhouse, SETTINGS, credentials=(PAIR, "ann@desk", CA.certificate_pem))
    assert files[-1].name == "wheels/big-1.0-py3-none-any.whl"
    assert folders_of(files) == ("credentials", "credentials/owners", "files", "wheels")


def test_another_wheel_is_another_release(wheelhouse: Wheelhouse, tmp_path: Path):
    (big, two), pip = wheelhouse.wheels, wheelhouse.installer
    other = Wheel(name=big.name, file=big.file, sha256="0" * 64, size=big.size)
    changed = Wheelhouse(wheels=(other, two), installer=pip, agent_version="1.2", python="3.11")
    turned = Wheelhouse(wheels=(two, big), installer=pip, agent_version="1.2", python="3.11")
    assert changed.release != wheelhouse.release == turned.release


def test_an_installation_that_lacks_a_boards_file_is_told(wheelhouse: Wheelhouse, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bundle, "BOARD_FILES", (*bundle.BOARD_FILES, "no-such.service"))
    with pytest.raises(DeployError, match=r"no-such\.service.*install edgepareto anew"):
        bundle_files(wheelhouse, SETTINGS, credentials=None)
