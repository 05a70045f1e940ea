"""host devices add, list, show, remove, identity, as typed."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from edgepareto.host.config import inventory_file
from edgepareto.host.credentials import (
    BoardCard,
    begin_rotation,
    card_text,
    certificate_facts,
    mark_moved,
    own_identity,
)

ADD = ("devices", "add", "bench", "pi@192.168.1.20")


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "config"
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Of a colleague who lets us use a board."""
    return card_of(tmp_path / "bob", board_id="0a1b")


def card_of(colleague: Path, *, board_id: str) -> Path:
    ca = own_identity(colleague).ca_pem
    card = BoardCard(name="pi7", address="10.0.0.7:50051", board_id=board_id, ca_pem=ca, granted_by=colleague.name)
    file = colleague.with_name(f"pi7.{colleague.name}.toml")
    file.write_text(card_text(card))
    return file


def test_a_board_is_added_listed_shown_and_removed(host):
    added = host(*ADD, "--meter", "ina219", "--shunt-ohm", "0.1", "--shared", "--group", "pi4", "--port", "2222")
    assert (added.code, added.out) == (0, "bench is added: pi@192.168.1.20; next: host deploy bench\n")
    listed = host("devices", "list").out
    for words in ("board at pi@192.168.1.20", "pi4", "ina219", "not yet: host deploy bench", "edgepareto.toml"):
        assert words in listed
    assert listed.splitlines()[-1].strip() == "you are nobody to any board yet; host deploy NAME makes your credentials"
    shown = json.loads(host("devices", "show", "bench", "--json").out)
    assert shown == {
        "schema": 1,
        "name": "bench",
        "kind": "board",
        "ssh": "pi@192.168.1.20",
        "port": 2222,
        "address": "192.168.1.20:50051",
        "installed": False,
        "group": "pi4",
        "meter": "ina219",
        "shunt_ohm": 0.1,
        "shared": True,
        "runtime": "onnxruntime",
        "file": str(inventory_file()),
    }
    assert host("devices", "remove", "bench").code == 0
    assert host("devices", "show", "bench").code == 2


def test_the_list_says_who_you_are_and_the_file_for_a_colleague_holds_no_secret(host, tmp_path: Path):
    written = host("devices", "identity", "-o", "me.pem")
    identity = own_identity()
    assert written.out.startswith(f"you are {identity.owner} to the boards, SHA256:{identity.fingerprint[:16]}\n")
    assert certificate_facts((tmp_path / "me.pem").read_bytes()).fingerprint == identity.fingerprint
    assert "PRIVATE" not in (tmp_path / "me.pem").read_text()
    listed = host("devices", "list")
    assert listed.out.splitlines()[-1].strip() == written.out.splitlines()[0]
    report = json.loads(host("devices", "list", "--json").out)
    assert report["identity"]["fingerprint"] == identity.fingerprint
    assert [device["name"] for device in report["devices"]] == ["pi1", "gone", "local"]
    for output, words in {"none/me.pem": "the folder none does not exist; create it first", ".": "is a folder"}.items():
        refused = host("devices", "identity", "-o", output)
        assert (refused.code, words in refused.err, refused.err.count("\n")) == (2, True, 1)
    os.mkfifo("pipe")
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(Path("pipe").read_bytes)
        assert host("devices", "identity", "-o", "pipe").code == 0
    assert read.result() == identity.ca_pem
    assert Path("pipe").is_fifo()  # written to, as /dev/stdout is, and not replaced


def test_every_address_is_shown_as_it_is(host):
    assert host("devices", "add", "bench", "pi@fe80::1%eth0").code == 0
    assert "[fe80::1%eth0]:50051" in host("devices", "show", "bench").out
    with inventory_file().open("a") as file:
        file.write('[devices.theirs]\naddress = "[fe80::2]:50051"\nboard_id = "0a1b"\n')
    assert "agent at [fe80::2]:50051" in host("devices", "list").out


def test_a_narrow_terminal_breaks_no_heading_and_no_name(host, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert host("devices", "add", "bench-in-the-corner", "pi@192.168.1.20").code == 0
    listed = host("devices", "list").out
    for words in ("what it is", "installed", "stands in", "bench-in-the-corner", "board at"):
        assert words in listed
    assert max(map(len, listed.splitlines()[:-2])) <= 60  # the last two are lines that grep finds
    assert "meter" not in listed  # nobody has one


def test_a_project_that_is_wrong_is_told_before_anything_is_written(host):
    Path("edgepareto.toml").write_text("[devices.pi1\n")
    refused = host(*ADD)
    assert (refused.code, refused.out, "edgepareto.toml:1" in refused.err) == (2, "", True)
    assert not inventory_file().exists()


def test_in_the_project_of_a_colleague_whose_board_is_not_yours_every_verb_works_but_on_it(host, card: Path):
    Path("edgepareto.toml").write_text(
        '[search]\nalgorithm = "none"\n[devices.pi1]\n[devices.sim]\nsimulate = "raspberry-pi-4b"\nsede = 1\n'
    )
    cure = "edgepareto.toml:3: [devices] pi1: is no board of yours yet: host devices add pi1 USER@HOST"
    listed = host("devices", "list")
    assert (listed.code, cure in listed.out, "did you mean seed?" in listed.out) == (0, True, True)
    entry = json.loads(host("devices", "list", "--json").out)["devices"][0]
    assert (entry["name"], entry["kind"], entry["problem"].startswith(cure)) == ("pi1", "unknown", True)
    checked = host("devices", "check", "--no-ssh")
    assert (checked.code, cure in checked.out) == (1, True)
    for verb in (("devices", "show"), ("devices", "unlock"), ("deploy",), ("devices", "check")):
        refused = host(*verb, "pi1")
        assert (refused.code, cure in refused.err) == (2, True)
    assert host("devices", "add", "pi7", "--card", str(card)).code == 0
    assert host("devices", "remove", "pi7").code == 0
    added = host("devices", "add", "pi1", "pi@192.168.1.20")
    assert (added.code, added.err) == (0, "")
    assert "board at pi@192.168.1.20" in host("devices", "list").out


def test_a_colleagues_card_is_all_that_a_board_needs(host, card: Path, config: Path):
    assert host("devices", "add", "theirs", "--card", str(card)).code == 0
    shown = json.loads(host("devices", "show", "theirs", "--json").out)
    assert (shown["address"], shown["board_id"], shown["installed"]) == ("10.0.0.7:50051", "0a1b", True)
    assert shown["authority"]["name"].startswith("edgepareto CA ")
    assert Path(shown["trust"]).parent == config / "trusted"
    assert host("devices", "remove", "theirs").code == 0
    assert list((config / "trusted").iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema = 1", "schema = 2", "pi7.bob.toml:3: schema = 2: must be 1; install a newer edgepareto"),
        (
            'board_id = "0a1b"\n',
            "",
            "pi7.bob.toml: is no card of a board; it needs schema, name, address, board_id and ca",
        ),
        ("0a1b", "../x", 'board_id = "../x": must be 1 to 48 lower-case letters'),
        ("10.0.0.7:50051", "10.0.0.7", "must read HOST:PORT"),
        ("BEGIN CERTIFICATE", "BEGIN", "pi7.bob.toml: ca is no certificate"),
        ("schema = 1", "schema = 1\nrun = 'x'", "run is not a setting"),
    ],
)
def test_a_card_that_is_none_is_refused_and_nothing_is_written(host, card: Path, old: str, new: str, words: str):
    card.write_text(card.read_text().replace(old, new))
    refused = host("devices", "add", "theirs", "--card", str(card))
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert words in refused.err
    assert not inventory_file().exists()


def test_where_the_authority_of_a_card_cannot_be_written_no_board_is_added(host, card: Path, config: Path):
    config.mkdir()
    (config / "trusted").touch()  # where the folder would be
    refused = host("devices", "add", "theirs", "--card", str(card))
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "trusted" in refused.err
    assert not inventory_file().exists()


def test_where_the_inventory_cannot_be_written_no_authority_stays(host, card: Path, config: Path):
    inventory_file().mkdir(parents=True)
    refused = host("devices", "add", "theirs", "--card", str(card))
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert list(config.rglob("*.pem")) == []


def test_a_board_keeps_its_authority_until_another_card_takes_its_place(host, card: Path, config: Path, tmp_path: Path):
    def authorities() -> list[bytes]:
        return [file.read_bytes().strip() for file in (config / "trusted").iterdir()]

    other = card_of(tmp_path / "eve", board_id="feed")
    bobs, eves = (own_identity(tmp_path / name).ca_pem.strip() for name in ("bob", "eve"))
    assert host("devices", "add", "theirs", "--card", str(card)).code == 0
    assert host("devices", "add", "theirs", "--card", str(other)).code == 2
    assert authorities() == [bobs]
    assert host("devices", "add", "theirs", "--card", str(other), "--replace").code == 0
    assert authorities() == [eves]
    assert host("devices", "add", "theirs", "--card", str(other), "--replace").code == 0
    assert authorities() == [eves]
    assert host("devices", "add", "theirs", "pi@192.168.1.20", "--replace").code == 0
    assert authorities() == []


def test_a_name_that_is_none_is_told_before_a_cards_authority_is_written(host, card: Path, config: Path):
    refused = host("devices", "add", "their/s", "--card", str(card))
    assert (refused.code, "device 'their/s': a device's name" in refused.err) == (2, True)
    assert not config.exists()


@pytest.mark.parametrize("verb", ["logs", "revoke", "grant"])
def test_what_only_the_owner_of_a_board_can_do_is_not_advised_to_who_has_a_card(host, card: Path, verb: str):
    assert host("devices", "add", "theirs", "--card", str(card)).code == 0
    ca = Path("ann.pem")
    ca.write_bytes(own_identity().ca_pem)
    refused = host("devices", verb, "theirs", *(("--ca", str(ca)) if verb == "grant" else ()))
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "theirs: is a colleague's board" in refused.err
    assert "USER@HOST" not in refused.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*ADD[:2], "bench"), "where is bench? host devices add bench USER@HOST, or --card FILE"),
        ((*ADD[:2], "local", "pi@b"), "device local: is always this machine"),
        ((*ADD, "--shunt-ohm", "0"), "--shunt-ohm 0.0: must be a number, more than 0"),
        ((*ADD, "--meter", "ina291"), "did you mean ina219?"),
        ((*ADD, "--key", "none/id"), "--key none/id: there is no such file"),
        ((*ADD, "--key", "."), "--key .: is a folder; the private key for SSH is wanted"),
        ((*ADD, "--address", "127.0.0.1:70000"), "has port 70000, allowed are 1 to 65535"),
        ((*ADD, "--address", "\x1b[2Jb:1"), "--address ?[2Jb:1: must read HOST:PORT"),
        ((*ADD, "--card", "x.toml", "--port", "22"), "leave out pi@192.168.1.20, --port"),
        (("devices", "add", "theirs", "--card", "none.toml"), "none.toml: cannot be read"),
        (("devices", "show", "nobody"), "device nobody is not known"),
        (("devices", "remove", "gone"), "remove its [devices.gone] there"),
        (("devices", "remove", "local"), "device local is not in "),
    ],
)
def test_what_does_not_fit_is_one_line_with_what_to_do(host, words: tuple[str, ...], told: str):
    result = host(*words)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert told in result.err


def test_show_knows_the_accepted_host_keys_and_how_far_a_rotation_is(host, config: Path):
    assert host(*ADD, "--port", "2222").code == 0
    with inventory_file().open("a") as file:
        file.write('board_id = "0a1b"\n')
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIFxm1WKRHvGz7nVwK6zH4M0Xb0tL8Y2VQ0Q1n8c4Rr3p"
    (config / "known_hosts").write_text(f"[192.168.1.20]:2222 ssh-ed25519 {key}\n192.168.1.20 ssh-ed25519 {key}\n")
    begin_rotation()
    shown = json.loads(host("devices", "show", "bench", "--json").out)
    (host_key,) = shown["host_keys"]
    assert host_key.startswith("ssh-ed25519 SHA256:")
    assert len(host_key.partition("SHA256:")[2]) == 43
    assert shown["knows_new_authority"] is False
    mark_moved("0a1b")
    text = host("devices", "show", "bench").out
    assert host_key in text
    assert "knows our new authority  yes" in text


def test_a_name_is_never_taken_over_silently(host):
    assert host(*ADD).code == 0
    again = host("devices", "add", "bench", "pi@10.0.0.9")
    assert (again.code, "--replace" in again.err) == (2, True)
    assert host("devices", "add", "bench", "pi@10.0.0.9", "--replace").code == 0
    assert "pi@10.0.0.9" in host("devices", "show", "bench").out


def test_a_name_that_something_else_has_here_is_told_or_refused(host):
    shadowed = host("devices", "add", "pi1", "pi@b", "--group", "pis")
    assert (shadowed.code, "edgepareto.toml has a pi1 of its own, which wins in this folder" in shadowed.err) == (
        0,
        True,
    )
    for words in (("pis", "pi@c"), ("pi2", "pi@c", "--group", "pi1")):
        refused = host("devices", "add", *words)
        assert (refused.code, "would be a device and a group" in refused.err) == (2, True)


def test_removing_an_installed_board_says_how_its_agent_goes(host):
    assert host(*ADD).code == 0
    with inventory_file().open("a") as file:
        file.write('board_id = "0a1b"\n')
    removed = host("devices", "remove", "bench")
    assert removed.code == 0
    assert "host devices add bench pi@192.168.1.20, then host deploy bench --remove" in removed.err


def test_a_board_without_an_agent_is_told_to_be_installed_when_it_is_used(host):
    assert host(*ADD).code == 0
    checked = host("devices", "check", "bench")
    assert checked.code == 1
    assert "bench: no agent was installed on it from here; host deploy bench" in checked.out
