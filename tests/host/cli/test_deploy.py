from __future__ import annotations

import pytest
from edgepareto.host.__main__ import main


@pytest.fixture(autouse=True)
def _boards(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPARETO_CONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    for name, port in (("pi1", "1"), ("pi2", "2")):
        assert main(["devices", "add", name, "pi@127.0.0.1", "--port", port]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pi9"], "device pi9 is not known"),
        (["local"], "is no board that SSH reaches"),
        (["pi1", "--rotate", "--remove"], "exclude each other"),
        (["pi1", "--remove", "--meter", "ina219"], "--meter: has no meaning with --remove"),
        (["pi1", "--meter", "ina"], "--meter ina: is none that an agent knows; auto"),
        (["pi1", "--shunt-ohm", "-0.1"], "--shunt-ohm -0.1: must be more than 0"),
        (["pi1", "--shunt-ohm", "nan"], "--shunt-ohm nan: must be more than 0"),
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
    assert "pi1: 127.0.0.1 port 1 refuses SSH" in err
    assert "pi2: 127.0.0.1 port 2 refuses SSH" in err
