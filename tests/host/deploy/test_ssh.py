"""A board by SSH: host keys, who lets us in, what ~/.ssh/config says."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from edgepareto.host.deploy.host_keys import fingerprint
from edgepareto.host.deploy.ssh import SshTarget, open_shell
from edgepareto.host.errors import DeployError
from fakes.ssh_server import SshServer, make_key, running
from host.deploy.conftest import Board, Person


def says(board: Board, target: SshTarget | None = None, **given: object) -> str:
    with open_shell(target or board.target, ask=None, host_key=board.fingerprint, **given) as shell:
        return shell.check("echo hello")


def test_the_first_contact_shows_the_fingerprint_and_asks_and_the_second_does_not(board: Board) -> None:
    person = Person()
    with open_shell(board.target, ask=person) as shell:
        assert shell.check("echo hello") == "hello\n"
    (question,) = person.heard
    assert board.fingerprint in question
    assert "ssh-ed25519" in question
    with open_shell(board.target, ask=None) as shell:
        assert shell.check("echo hello") == "hello\n"
    assert (board.home / "config" / "known_hosts").stat().st_mode & 0o777 == 0o600
    assert not (board.home / ".ssh" / "known_hosts").exists()


def test_whoever_says_no_is_not_connected_and_nothing_is_stored(board: Board) -> None:
    person = Person(agrees=False)
    with pytest.raises(DeployError, match="not accepted"), open_shell(board.target, ask=person):
        pass
    compare = f"ssh-ed25519 {board.fingerprint}; on the board ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows it"
    assert compare in person.heard[0]
    assert not (board.home / "config" / "known_hosts").exists()
    assert board.server.asked == []


def test_a_script_is_told_the_flag_with_the_fingerprint(board: Board) -> None:
    with pytest.raises(DeployError, match=re.escape(f"--host-key {board.fingerprint}")):  # noqa: SIM117
        with open_shell(board.target, ask=None):
            pass
    assert board.server.asked == []


def test_another_key_than_the_wanted_one_is_refused_before_anything_is_sent(board: Board) -> None:
    wanted = "SHA256:" + "A" * 43
    with pytest.raises(DeployError, match="NOT THE WANTED ONE") as refusal:  # noqa: SIM117
        with open_shell(board.target, ask=Person(), host_key=wanted):
            pass
    assert wanted in str(refusal.value)
    assert "then --host-key with that, or host devices add --replace" in str(refusal.value)
    assert board.fingerprint in str(refusal.value)
    assert board.server.asked == []


def test_a_changed_host_key_is_refused_with_both_fingerprints_also_with_a_person_and_a_flag(board: Board) -> None:
    assert says(board) == "hello\n"
    changed = paramiko.PKey.from_path(make_key(board.home, "changed"))
    board.server.host_key = changed
    new = fingerprint(changed.asbytes())
    for given in (None, new):
        with pytest.raises(DeployError, match="HOST KEY HAS CHANGED") as refusal:  # noqa: SIM117
            with open_shell(board.target, ask=Person(), host_key=given):
                pass
        assert board.fingerprint in str(refusal.value)
        assert new in str(refusal.value)
        assert "ssh-keygen -R '[127.0.0.1]:" in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert board.server.asked == ["publickey"]


@pytest.mark.parametrize("form", ["plain", "hashed", "wildcard", "several"])
def test_what_ssh_already_knows_is_known(board: Board, form: str) -> None:
    name = f"[127.0.0.1]:{board.target.port}"
    key = f"{board.server.host_key.get_name()} {board.server.host_key.get_base64()}"
    names = {
        "plain": name,
        "hashed": paramiko.HostKeys.hash_host(name),
        "wildcard": "[127.0.*]:*",
        "several": f"elsewhere,{name}",
    }
    other = "ecdsa-sha2-nistp256 bm90IGEga2V5 of another place"
    (board.home / ".ssh" / "known_hosts").write_text(
        f"# mine\nspoiled line\nelsewhere {other}\n{names[form]} {key} me\n"
    )
    with open_shell(board.target, ask=None) as shell:
        assert shell.check("echo hello") == "hello\n"


def test_a_revoked_key_is_refused_whatever_else_is_known(board: Board) -> None:
    assert says(board) == "hello\n"
    key = f"{board.server.host_key.get_name()} {board.server.host_key.get_base64()}"
    (board.home / ".ssh" / "known_hosts").write_text(f"@revoked * {key}\n")
    with pytest.raises(DeployError, match="revoked"):
        says(board)


def test_who_is_not_let_in_is_told_every_key_that_was_tried(board: Board) -> None:
    board.server.keys = [b"another"]
    key = make_key(board.home, "mine")
    with pytest.raises(DeployError) as refusal:
        says(board, replace(board.target, key=key))
    assert str(refusal.value).startswith(f"pi1: pi@127.0.0.1 port {board.target.port} does not let us in (tried {key})")
    assert "ssh-copy-id" in str(refusal.value)


def test_a_named_key_that_is_not_there_is_said(board: Board) -> None:
    with pytest.raises(DeployError, match=r"nowhere \(not there\)"):
        says(board, replace(board.target, key=board.home / "nowhere"))


def test_a_locked_key_asks_for_its_passphrase_until_it_is_right(board: Board) -> None:
    key = make_key(board.home, "locked", passphrase="open sesame")
    board.server.keys = [paramiko.PKey.from_path(key, b"open sesame").asbytes()]
    person = Person(secrets=["wrong", "open sesame"])
    with open_shell(replace(board.target, key=key), ask=person, host_key=board.fingerprint) as shell:
        assert shell.check("echo hello") == "hello\n"
    assert person.heard == [f"pi1: passphrase of {key}: "] * 2
    with pytest.raises(DeployError, match=f"locked by a passphrase: ssh-add {key}"):
        says(board, replace(board.target, key=key))


def test_a_password_is_asked_for_where_no_key_helps(board: Board) -> None:
    board.server.keys, board.server.password = [b"another"], "raspberry"
    person = Person(secrets=["wrong", "raspberry"])
    with open_shell(board.target, ask=person, host_key=board.fingerprint) as shell:
        assert shell.check("echo hello") == "hello\n"
    assert all("password of pi@127.0.0.1" in prompt for prompt in person.heard)
    with pytest.raises(DeployError) as refusal:  # noqa: SIM117
        with open_shell(board.target, ask=Person(secrets=["hunter2"] * 3), host_key=board.fingerprint):
            pass
    assert "a password" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_the_keys_of_an_ssh_agent_are_used(board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "agent"
    try:
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("no ssh-agent on this machine")
    try:
        assert agent.stdout is not None
        agent.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        key = board.home / ".ssh" / "id_ed25519"
        subprocess.run(["ssh-add", "-q", key], check=True, env=os.environ)
        key.unlink()
        assert says(board) == "hello\n"
    finally:
        agent.terminate()
        agent.communicate()


def test_an_alias_brings_host_port_user_and_key_also_from_an_included_file(board: Board) -> None:
    key = make_key(board.home, "for_the_board")
    board.server.keys = [paramiko.PKey.from_path(key).asbytes()]
    ssh = board.home / ".ssh"
    (ssh / "config").write_text("Include boards/*\nHost *\n  User nobody\n")
    (ssh / "boards").mkdir()
    port = board.target.port
    (ssh / "boards" / "pi").write_text(
        f"Host attic\n  HostName 127.0.0.1\n  Port {port}\n  User pi\n  IdentityFile {key}\n"
    )
    assert says(board, SshTarget(name="pi1", destination="attic")) == "hello\n"


def test_a_proxy_command_carries_the_connection_and_ends_with_it(board: Board) -> None:
    relay = board.home / "relay.py"
    relay.write_text(
        "import os, socket, sys, threading\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while d := os.read(0, 32768): s.sendall(d)\n"
        "    s.shutdown(socket.SHUT_WR)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while d := s.recv(32768): os.write(1, d)\n"
    )
    import sys

    command = f"exec {sys.executable} {relay} %h %p"
    (board.home / ".ssh" / "config").write_text(f"Host pi\n  HostName 127.0.0.1\n  ProxyCommand {command}\n")
    assert says(board, replace(board.target, destination="pi@pi")) == "hello\n"


def test_a_proxy_command_that_fails_is_one_line_at_once(board: Board) -> None:
    (board.home / ".ssh" / "config").write_text("Host pi\n  ProxyCommand false\n")
    with pytest.raises(DeployError, match="ends the SSH talk"):
        says(board, replace(board.target, destination="pi@pi"))


def test_a_board_behind_two_hosts_is_reached_through_both_and_each_host_key_is_checked(board: Board) -> None:
    key = paramiko.PKey.from_path(board.home / ".ssh" / "id_ed25519").asbytes()
    first_key, second_key = (paramiko.PKey.from_path(make_key(board.home, name)) for name in ("first", "second"))
    with (
        running(SshServer(host_key=first_key, keys=[key])) as first,
        running(SshServer(host_key=second_key, keys=[key])) as second,
    ):
        (board.home / ".ssh" / "config").write_text(
            f"Host first\n  HostName 127.0.0.1\n  Port {first.port}\n"
            f"Host second\n  HostName 127.0.0.1\n  Port {second.port}\n  ProxyJump first\n"
            "Host attic\n  HostName 127.0.0.1\n  ProxyJump second\n"
        )
        person = Person()
        with open_shell(replace(board.target, destination="pi@attic"), ask=person) as shell:
            assert shell.check("echo hello") == "hello\n"
        assert len(person.heard) == 3
        assert [*first.forwarded.values()] == [("127.0.0.1", second.port)]
        assert [*second.forwarded.values()] == [("127.0.0.1", board.target.port)]


def test_a_host_that_jumps_to_itself_is_one_line(board: Board) -> None:
    (board.home / ".ssh" / "config").write_text("Host pi\n  ProxyJump pi\n")
    with pytest.raises(DeployError, match="in a circle"):
        says(board, replace(board.target, destination="pi@pi"))


def test_where_nothing_listens_is_one_line(board: Board) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeployError, match=r"refuses SSH; .*sudo systemctl enable --now ssh"):
        says(board, replace(board.target, port=port))


def test_a_name_that_nobody_knows_is_one_line(board: Board) -> None:
    with pytest.raises(DeployError, match=r"no host of the name no-such-board\.invalid is known"):
        says(board, replace(board.target, destination="pi@no-such-board.invalid"))


def test_a_server_of_another_kind_and_one_that_says_nothing_are_one_line(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgepareto.host.deploy.ssh.CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = replace(board.target, port=listener.getsockname()[1])
        with pytest.raises(DeployError, match="ends the SSH talk"):
            says(board, silent)
