from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from edgepareto.host.credentials import (
    abandon_rotation,
    begin_rotation,
    certificate_facts,
    certificates,
    dialling_order,
    finish_rotation,
    issue_board_credentials,
    mark_moved,
    mark_returned,
    open_rotation,
    own_identity,
    read_authority,
)
from edgepareto.host.credentials.identity import FILES, PROMOTED, make_identity
from edgepareto.host.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    own_identity(folder)
    return folder


def test_a_board_is_dialled_as_it_knows_us_and_then_the_other_way(folder: Path):
    rotation = begin_rotation(folder)
    mark_moved("pi1", folder)
    old, new = rotation.current, rotation.next
    assert old.fingerprint != new.fingerprint
    assert [tried.fingerprint for tried in dialling_order("pi1", None, folder)] == [new.fingerprint, old.fingerprint]
    assert [tried.fingerprint for tried in dialling_order("pi2", None, folder)] == [old.fingerprint, new.fingerprint]
    assert [tried.root_certificates for tried in dialling_order("pi2", None, folder)] == [old.ca_pem, new.ca_pem]
    mark_returned("pi1", folder)
    assert dialling_order("pi1", None, folder)[0].fingerprint == old.fingerprint


def test_a_rotation_that_is_begun_again_goes_on(folder: Path):
    begun = begin_rotation(folder)
    mark_moved("pi1", folder)
    again = begin_rotation(folder)
    assert (again.next.fingerprint, again.moved) == (begun.next.fingerprint, {"pi1"})


def test_a_finished_rotation_leaves_the_new_identity_alone_in_its_place(folder: Path):
    new = begin_rotation(folder).next
    mark_moved("pi1", folder)
    finished = finish_rotation(folder, board_ids=["pi1"])
    assert (finished.fingerprint, finished.folder) == (new.fingerprint, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert open_rotation(folder) is None
    assert [tried.fingerprint for tried in dialling_order("pi1", None, folder)] == [new.fingerprint]


@pytest.mark.parametrize("in_place", range(len(FILES) + 1))
def test_a_finish_that_was_cut_off_is_completed_by_the_next_command(folder: Path, in_place: int):
    new = begin_rotation(folder).next
    mark_moved("pi1", folder)
    (folder / "next").rename(folder / PROMOTED)
    for name in FILES[:in_place]:
        (folder / PROMOTED / name).replace(folder / name)
    assert own_identity(folder).fingerprint == new.fingerprint
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_nothing_is_thrown_away_that_a_board_still_needs(folder: Path):
    begin_rotation(folder)
    mark_moved("pi1", folder)
    with pytest.raises(ConfigError, match="boards pi2 know only the old authority; host deploy NAME --rotate"):
        finish_rotation(folder, board_ids=["pi1", "pi2"])
    with pytest.raises(ConfigError, match="boards pi1 know the new authority already; go on with"):
        abandon_rotation(folder)
    rotation = open_rotation(folder)
    assert rotation is not None
    assert rotation.moved == {"pi1"}


def test_an_abandoned_rotation_leaves_what_was_before(folder: Path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    begin_rotation(folder)
    abandon_rotation(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ConfigError, match="no rotation is open"):
        finish_rotation(folder, board_ids=[])


def test_a_rotation_that_waits_for_a_board_outlasts_the_certificate(folder: Path, monkeypatch):
    """A board in a drawer for two years."""
    monkeypatch.setattr(certificates, "HOST_VALIDITY", timedelta(days=-1))
    make_identity(folder / "next", "ann@laptop")
    monkeypatch.undo()
    begun = begin_rotation(folder)
    tried = dialling_order("pi1", None, folder)
    assert [credentials.fingerprint for credentials in tried] == [begun.current.fingerprint, begun.next.fingerprint]
    for credentials in tried:
        assert certificate_facts(credentials.certificate_chain).not_after > datetime.now(timezone.utc)


def test_a_rotation_that_ends_meanwhile_mixes_no_keys(folder: Path, monkeypatch):
    """Another command ends it between two steps of ours."""
    begin_rotation(folder)
    mark_moved("pi1", folder)
    stale = own_identity(folder)
    finish_rotation(folder, board_ids=["pi1"])
    with pytest.raises(ConfigError, match="was replaced by another command just now; run this one again"):
        issue_board_credentials(stale, "pi2")
    stop = threading.Event()

    def rotate() -> None:
        while not stop.is_set():
            begin_rotation(folder)
            finish_rotation(folder, board_ids=[])

    other = threading.Thread(target=rotate)
    other.start()
    try:
        for _ in range(40):
            for tried in dialling_order("pi1", None, folder):
                assert certificates.fits(tried.certificate_chain, tried.private_key)
    finally:
        stop.set()
        other.join()


def test_only_an_authoritys_certificate_is_trusted(folder: Path, tmp_path: Path):
    identity = own_identity(folder)
    assert read_authority(folder / "ca.pem") == identity.ca_pem
    assert dialling_order("pi1", folder / "ca.pem", folder)[0].root_certificates == identity.ca_pem
    board = issue_board_credentials(identity, "pi1")
    wrong = {
        "is the certificate of board:pi1": board.certificate_pem,
        "holds no certificate": b"no pem",
        "holds a private key": identity.ca_pem + board.key_pem,
        "holds 2 PEM blocks, allowed is one": identity.ca_pem * 2,
        "holds 3 PEM blocks": identity.ca_pem + identity.ca_pem.replace(b"CERT", b"TRUSTED CERT") * 2,
    }
    for words, content in wrong.items():
        (tmp_path / "trust.pem").write_bytes(content)
        with pytest.raises(ConfigError, match=words):
            read_authority(tmp_path / "trust.pem")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_authority(tmp_path / "none.pem")


def test_no_identity_is_made_only_to_see_whether_one_rotates(tmp_path: Path):
    assert open_rotation(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
