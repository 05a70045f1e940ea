from __future__ import annotations

import pytest
from edgepareto.host.__main__ import main
from edgepareto.host.credentials import BoardCard, card_text, own_identity


@pytest.fixture(autouse=True)
def _boards(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    for name, port in (("pi1", "1"), ("pi2", "2")):
        assert main(["devices", "add", name, "pi@127.0.0.1", "--port", port]) == 0
    bob = own_identity(tmp_path / "bob")
    card = BoardCard(name="pi7", address="10.0.0.7:1", board_id="0a1b", ca_pem=bob.ca_pem, granted_by="bob@desk")
    (tmp_path / "pi7.card").write_text(card_text(card))
    assert main(["devices", "add", "theirs", "--card", "pi7.card"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pi9"], "known are pi1, pi2, theirs, local, or first host devices add NAME USER@HOST"),
        (["local"], "is no board that SSH reaches"),
        (
            ["theirs"],
            "theirs: is a colleague's board, which only its owner deploys, by SSH; your card lets you measure",
        ),
        (["pi1", "--rotate", "--remove"], "exclude each other"),
        (["pi1", "--remove", "--meter", "ina219"], "--meter: has no meaning with --remove"),
        (["pi1", "--meter", "ina"], "--meter ina: is none that an agent knows; auto"),
        (["pi1", "--shunt-ohm", "-0.1"], "--shunt-ohm -0.1: must be more than 0"),
        (["pi1", "--shunt-ohm", "nan"], "--shunt-ohm nan: must be more than 0"),
        (
            ["pi1", "--host-key", "nonsense"],
            "--host-key nonsense: must read SHA256: and 43 characters, as on the board",
        ),
        (["pi1", "--wheelhouse", "/no/wheels"], "--wheelhouse /no/wheels: there is no such folder; give one"),
        (["pi1", "--wheelhouse", "."], "--wheelhouse .: holds no .whl file; put wheels for the board there"),
        (["pi1", "pi2", "--host-key", "SHA256:" + "A" * 43], "--host-key is one board's"),
    ],
)
def test_wrong_use_is_one_line_before_any_board_is_asked(words, said, capsys):
    assert main(["deploy", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_board_that_cannot_be_reached_leaves_the_others_to_be_tried(capsys):
    assert main(["deploy", "pi1", "pi2", "--quiet"]) == 1
    err = capsys.readouterr().err
    assert "pi1: 127.0.0.1 port 1 refuses SSH; is it on and booted?" in err
    assert "pi2: 127.0.0.1 port 2 refuses SSH" in err


def test_off_a_terminal_why_a_board_failed_is_told_once(capsys):
    assert main(["deploy", "pi1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "refuses SSH" in line]) == 1
    assert lines[-1].startswith("host: pi1: 127.0.0.1 port 1 refuses SSH")
