from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from edgepareto.host.credentials import begin_rotation, certificates, issue_board_credentials, own_identity
from edgepareto.host.credentials.identity import make_identity
from edgepareto.host.errors import ConfigError

FILES = ("ca.key", "ca.pem", "host.key", "host.pem")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "config" / "credentials"


def common_name(pem: bytes) -> str:
    (name,) = x509.load_pem_x509_certificate(pem).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def test_the_first_use_makes_an_identity_that_only_its_user_can_read(folder: Path):
    previous = os.umask(0)
    try:
        identity = own_identity(folder)
    finally:
        os.umask(previous)
    assert sorted(path.name for path in folder.iterdir()) == list(FILES)
    assert {path.name: path.stat().st_mode & 0o777 for path in (folder, folder / "ca.key", folder / "host.key")} == {
        "credentials": 0o700,
        "ca.key": 0o600,
        "host.key": 0o600,
    }
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert own_identity(folder) == identity


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Also for root, who may write into every folder that is not mounted so."""
    opened = os.open

    def refusing(path, flags, mode=0o777, *, dir_fd=None):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and Path(path).is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, mode, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", refusing)
        yield


def test_a_folder_that_cannot_be_written_is_read(folder: Path):
    identity = own_identity(folder)
    with read_only(folder.parent):
        assert own_identity(folder) == identity
    (folder.parent / ".credentials.lock").unlink()
    with read_only(folder.parent):
        assert own_identity(folder) == identity
        with pytest.raises(OSError, match="Read-only"):
            begin_rotation(folder)


def test_roles_names_and_dates_are_those_that_boards_check(folder: Path):
    identity = own_identity(folder)
    board = issue_board_credentials(identity, "0a1b2c3d4e5f6071")
    ca, host, issued = (
        x509.load_pem_x509_certificate(pem)
        for pem in (identity.ca_pem, identity.certificate_pem, board.certificate_pem)
    )
    assert common_name(identity.certificate_pem) == f"host:{identity.owner}"
    assert common_name(board.certificate_pem) == "board:0a1b2c3d4e5f6071"
    assert re.fullmatch(rf"edgepareto CA {re.escape(identity.owner)} [0-9a-f]{{8}}", common_name(identity.ca_pem))
    usages = [list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) for leaf in (host, issued)]
    assert usages == [[ExtendedKeyUsageOID.CLIENT_AUTH], [ExtendedKeyUsageOID.SERVER_AUTH]]
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["0a1b2c3d4e5f6071.board.edgepareto"]
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert {certificate.not_valid_before_utc.year for certificate in (ca, host, issued)} == {1970}  # no clock there
    assert (ca.not_valid_after_utc.year, issued.not_valid_after_utc.year) == (9999, 9999)
    assert 729 <= (identity.expires_at - datetime.now(timezone.utc)).days <= 730


def test_a_boards_key_shows_in_no_text(folder: Path):
    board = issue_board_credentials(own_identity(folder), "pi1")
    assert "PRIVATE" not in repr(board)
    assert "PRIVATE" not in repr(own_identity(folder))
    assert not any(board.key_pem in path.read_bytes() for path in folder.iterdir())


def test_commands_that_start_at_once_agree_on_one_identity(folder: Path):
    program = (
        "import sys; from pathlib import Path; from edgepareto.host.credentials import own_identity\n"
        "print(own_identity(Path(sys.argv[1])).fingerprint)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    fingerprints = {process.communicate()[0] for process in running}
    assert fingerprints == {f"{own_identity(folder).fingerprint}\n"}
    assert sorted(path.name for path in folder.parent.iterdir()) == [".credentials.lock", "credentials"]


def test_a_maker_that_died_leaves_nothing_that_the_next_one_minds(folder: Path):
    half = folder.parent / ".credentials-dead"
    half.mkdir(parents=True)
    (half / "ca.key").write_text("half a key")
    folder.mkdir()  # empty
    own_identity(folder)
    assert not half.exists()


def test_the_certificate_is_renewed_in_time_and_boards_need_nothing(folder: Path, monkeypatch):
    monkeypatch.setattr(certificates, "HOST_VALIDITY", timedelta(days=61))
    identity = own_identity(folder)
    assert own_identity(folder) == identity
    monkeypatch.undo()
    expired = timedelta(days=-1)
    for validity in (timedelta(days=59), expired):
        shutil.rmtree(folder)
        monkeypatch.setattr(certificates, "HOST_VALIDITY", validity)
        make_identity(folder, "ann@laptop")
        ca_pem, key = (folder / "ca.pem").read_bytes(), (folder / "host.key").read_bytes()
        monkeypatch.undo()
        renewed = own_identity(folder)
        assert (renewed.expires_at - datetime.now(timezone.utc)).days >= 729
        assert (renewed.ca_pem, (folder / "host.key").read_bytes()) == (ca_pem, key)
        assert renewed.owner == "ann@laptop"


def test_a_copied_folder_is_the_same_user_elsewhere(folder: Path, tmp_path: Path):
    identity = own_identity(folder)
    shutil.copytree(folder, tmp_path / "other machine")
    copy = own_identity(tmp_path / "other machine")
    assert (copy.owner, copy.fingerprint) == (identity.owner, identity.fingerprint)


def test_an_owner_of_any_length_and_letters_becomes_a_name_that_fits(folder: Path, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "jörg müller/" + "x" * 80)
    identity = own_identity(folder)
    assert identity.owner == "j-rg-m-ller-" + "x" * 29
    assert len(common_name(identity.ca_pem)) == 64


def break_permissions(folder: Path) -> None:
    (folder / "host.key").chmod(0o644)


def open_folder(folder: Path) -> None:
    folder.chmod(0o755)


def lose_a_file(folder: Path) -> None:
    (folder / "ca.key").unlink()


def garble(folder: Path) -> None:
    (folder / "host.pem").write_text("no certificate")


def mix(folder: Path) -> None:
    """Half of another identity, as after an interrupted copy."""
    make_identity(folder.parent / "other", "bob@desk")
    for name in ("host.pem", "host.key"):
        (folder.parent / "other" / name).replace(folder / name)


def swap_keys(folder: Path) -> None:
    shutil.copy(folder / "ca.key", folder / "host.key")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (break_permissions, r"host\.key: holds a private key and is open to other users \(mode 644, allowed 600\); "
                            r"chmod 600 "),
        (open_folder, r"\(mode 755, allowed 700\); chmod 700 "),
        (lose_a_file, r"lacks ca\.key; copy .* whole from where it works, or move it away"),
        (garble, "holds what is no certificate or key"),
        (mix, r"host\.pem was not issued by ca\.pem"),
        (swap_keys, r"host\.key is not the key of host\.pem"),
    ],
)  # fmt: skip
def test_a_spoiled_identity_is_refused_with_what_to_do(folder: Path, spoil, words: str):
    own_identity(folder)
    spoil(folder)
    with pytest.raises(ConfigError, match=words) as told:
        own_identity(folder)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("board_id", ["", "Pi1", "pi.1", "-pi", "x" * 49, "pi\n"])
def test_a_board_id_is_a_name_that_a_certificate_takes(folder: Path, board_id: str):
    with pytest.raises(ConfigError, match="1 to 48 lower-case letters, digits and -"):
        issue_board_credentials(own_identity(folder), board_id)


def test_a_name_in_a_strangers_certificate_writes_nothing_to_a_terminal():
    pem = certificates.make_authority("bob\x1b[2J").certificate_pem
    assert certificates.certificate_facts(pem).common_name.startswith("edgepareto CA bob?[2J ")
