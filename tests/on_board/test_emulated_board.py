"""From a bare board to nothing left behind, by the commands that a user types; over ssh, systemd, mTLS and I2C."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from on_board.conftest import Installed
from on_board.emulated_board import EmulatedBoard
from on_board.typing_user import User

pytestmark = pytest.mark.board

SMALL = ("--measurements", "4", "--population", "4", "--preset", "quick")
UNITS = ("edgepareto-agent.service", "edgepareto-worker@1.service")
MOST_EXPOSURE = 2.0
AGENT = Path(__file__).parents[2] / "agent" / "edgepareto" / "agent"
REAL_BOARDS = [name for name in os.environ.get("EDGEPARETO_BOARDS", "").split(",") if name]


def measures_and_searches(user: User, name: str) -> None:
    assert name in user.does("devices", "check", name).stdout
    profiled = json.loads(user.does("profile", "model.onnx", "--devices", name, "--preset", "quick", "--json").stdout)
    result = profiled["results"][0]
    assert (result["status"], result["simulated"]) == ("OK", False), result
    assert result["latency_s"] > 0
    user.does("search", "--devices", name, *SMALL, "--energy", "total")
    front = json.loads(user.does("front", "--format", "json").stdout)["devices"][0]
    assert front["complete"]
    assert front["front"]
    assert all(point["energy_j"] > 0 for point in front["front"])


def test_from_a_bare_board_to_a_front_with_energy(installed: Installed) -> None:
    measures_and_searches(installed.user, "pi1")


@pytest.mark.parametrize("name", REAL_BOARDS)
def test_a_real_board_is_brought_to_a_front_by_the_same_commands(name: str, desk: Path) -> None:
    """Of the inventory of whoever runs the tests; deploy leaves it as it is where it is right already."""
    user = User(config=None, desk=desk)
    user.does("deploy", name)
    measures_and_searches(user, name)


def test_nothing_of_the_units_is_more_exposed_than_it_must_be(installed: Installed) -> None:
    for unit in UNITS:
        told = installed.board.root(f"systemd-analyze security --no-pager {unit}")
        exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
        assert exposure, told
        assert float(exposure.group(1)) <= MOST_EXPOSURE, told


def test_a_second_deploy_changes_nothing_and_does_not_restart_the_agent(installed: Installed) -> None:
    board = installed.board
    state = (
        "systemctl show -p MainPID edgepareto-agent; find /opt/edgepareto /etc/edgepareto -printf '%p %T@ %l\\n' | sort"
    )
    before = board.root(state)
    installed.user.does("deploy", "pi1")
    assert board.root(state) == before


def test_an_upgrade_keeps_the_credentials(installed: Installed) -> None:
    credentials = "cd /etc/edgepareto/credentials && sha256sum agent.* owners/*"
    before = installed.board.root(credentials)
    installed.user.does("deploy", "pi1", "--upgrade")
    assert installed.board.root(credentials) == before
    installed.user.does("devices", "check", "pi1")


def test_an_upgrade_to_an_agent_that_does_not_start_ends_with_the_old_one(installed: Installed, tmp_path: Path) -> None:
    release = tmp_path / "release"
    shutil.copytree(AGENT, release / "edgepareto" / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    (release / "edgepareto" / "agent" / "cli.py").write_text("raise SystemExit('this release is broken')\n")
    of_next_release = replace(installed.user, release=release)
    current = "readlink /opt/edgepareto/current"
    before, listing = installed.board.root(current), installed.board.listing()
    of_next_release.is_refused("deploy", "pi1", "--upgrade", saying="this release is broken; the board is as it was")
    assert installed.board.root(current) == before
    assert sorted(set(installed.board.listing()) ^ set(listing)) == []
    installed.user.does("devices", "check", "pi1")


def test_rotation_makes_new_certificates_and_the_old_ones_are_let_in_no_more(
    installed: Installed, tmp_path: Path
) -> None:
    stolen = _copy_of(installed.user, tmp_path / "stolen")
    installed.user.does("deploy", "pi1", "--rotate")
    installed.user.does("devices", "check", "pi1")
    assert stolen.types("devices", "check", "pi1").exit_code == 1
    installed.user.does("profile", "model.onnx", "--devices", "pi1", "--preset", "quick")


def test_what_deploy_and_rotate_ended_with_outlives_a_power_cut_in_the_next_moment(installed: Installed) -> None:
    board, user = installed.board, installed.user
    _cut_power_for_a_moment(board)
    user.does("deploy", "pi1", "--rotate")
    _cut_power_for_a_moment(board)
    user.does("devices", "check", "pi1")


def test_a_reboot_in_mid_search_costs_one_batch_and_nothing_else(installed: Installed) -> None:
    board, user = installed.board, installed.user
    board.root("systemctl add-wants multi-user.target ina219-sim.service && sync")
    boot = board.boot_id()
    with _search_that_measures(installed) as search:
        board.cut_power()
        ran = user.end(search)
    assert ran.exit_code == 0, ran.stderr
    assert board.boot_id() != boot
    front = json.loads(user.does("front", "--format", "json").stdout)["devices"][0]
    assert front["complete"]
    assert re.search(r"reboot", ran.stderr + ran.stdout, re.IGNORECASE), ran.stderr


def test_a_colleague_is_let_in_by_grant_waits_in_line_unlocks_and_is_out_after_revoke(
    installed: Installed, tmp_path: Path
) -> None:
    owner, board = installed.user, installed.board
    colleague = User(config=tmp_path / "colleague", desk=owner.desk)
    certificate, card = str(tmp_path / "ann.pem"), str(tmp_path / "pi1.card")
    owners = "ls /etc/edgepareto/credentials/owners"
    alone = board.root(owners)
    colleague.does("devices", "identity", "-o", certificate)
    owner.does("devices", "grant", "pi1", "--ca", certificate, "--as", "ann", "-o", card)
    colleague.does("devices", "add", "pi1", "--card", card)
    colleague.does("devices", "check", "pi1")
    with _search_that_measures(installed) as holder:
        colleague.does("devices", "unlock", "pi1", "--yes")
        assert "unlocked by" in owner.end(holder).stderr
    assert set(board.root(owners).split()) - set(alone.split()) == {"ann.pem"}
    owner.does("devices", "revoke", "pi1", "--owner", "ann")
    assert board.root(owners) == alone
    assert colleague.types("devices", "check", "pi1").exit_code == 1
    owner.does("devices", "check", "pi1")


def test_a_host_killed_in_mid_search_frees_its_board_within_90_seconds(installed: Installed) -> None:
    with _search_that_measures(installed) as search:
        search.kill()
    deadline = time.monotonic() + 90
    # profile is another owner than a search: it gets the board when the lease has run out, and here waits in no line
    profile = ("profile", "model.onnx", "--devices", "pi1", "--preset", "quick", "--wait", "0")
    while (ran := installed.user.types(*profile)).exit_code != 0:
        assert time.monotonic() < deadline, ran.stderr


def test_plain_text_and_foreign_certificates_are_refused(installed: Installed, tmp_path: Path) -> None:
    board = installed.board
    with socket.create_connection(("127.0.0.1", board.agent_port), timeout=20) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        assert b"\x00\x00\x04" not in plain.recv(100)[:9]  # a TLS alert, or the end, and no SETTINGS frame
    stranger = User(config=tmp_path / "stranger", desk=installed.user.desk)
    stranger.does("devices", "identity")
    inventory = (installed.user.config or Path()) / "devices.toml"
    (tmp_path / "stranger" / "devices.toml").write_text(inventory.read_text())
    ran = stranger.types("devices", "check", "pi1")
    assert ran.exit_code == 1
    installed.user.does("devices", "check", "pi1")


def test_neither_the_journal_nor_the_board_at_large_holds_a_secret(installed: Installed) -> None:
    installed.user.does("profile", "model.onnx", "--devices", "pi1", "--preset", "quick")
    board = installed.board
    journal = board.root("journalctl --no-pager -o cat")
    assert "PRIVATE KEY" not in journal
    keys = board.root(
        "grep -rlI --exclude-dir=proc --exclude-dir=sys 'BEGIN.*PRIVATE KEY' /opt /etc /var /home /tmp /root"
    )
    ours = [file for file in keys.split() if not file.startswith(("/etc/ssh/", "/opt/edgepareto/releases/"))]
    assert ours == [board.root("readlink -f /etc/edgepareto/credentials/agent.key").strip()]
    assert board.root(f"stat -c '%a %U:%G' {ours[0]}").split() == ["640", "root:edgepareto"]
    told = installed.user.does("devices", "logs", "pi1").stdout
    assert "PRIVATE KEY" not in told
    assert str(board.agent_port) in told


def test_the_agent_can_change_nothing_that_it_runs(installed: Installed) -> None:
    writable = installed.board.root(
        "cd / && runuser -u edgepareto -- find /opt/edgepareto /etc/edgepareto -writable -not -type l"
    )
    assert writable == ""


def test_after_remove_the_board_is_as_it_was_before(installed: Installed) -> None:
    installed.user.does("profile", "model.onnx", "--devices", "pi1", "--preset", "quick")
    installed.user.does("deploy", "pi1", "--remove")
    before, after = set(installed.listing_before), set(installed.board.listing())
    assert sorted(after - before) == []
    assert sorted(before - after) == []
    assert (
        installed.board.root("ls -d /run/edgepareto* 2>/dev/null; systemctl list-units --all -q '*edgepareto*'") == ""
    )


def _copy_of(user: User, folder: Path) -> User:
    assert user.config is not None
    return User(config=shutil.copytree(user.config, folder), desk=user.desk)


def _cut_power_for_a_moment(board: EmulatedBoard) -> None:
    board.cut_power()
    board.wait_until_booted()
    board.root("systemctl start ina219-sim")


@contextmanager
def _search_that_measures(installed: Installed) -> Iterator[subprocess.Popen[str]]:
    """Of the owner, from its first worker on; no later test hears of it. The socket counts its workers, so that none
    comes and goes between two looks.
    """
    workers = "systemctl show --property NAccepted edgepareto-worker.socket"
    before = installed.board.root(workers)
    with installed.user.start("search", "--devices", "pi1", *SMALL) as search:
        try:
            deadline = time.monotonic() + 300
            while installed.board.root(workers) == before:
                assert search.poll() is None, search.communicate()
                assert time.monotonic() < deadline, "no worker was started"
                time.sleep(0.5)
            yield search
        finally:
            search.kill()
