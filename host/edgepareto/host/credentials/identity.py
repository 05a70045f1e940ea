"""Who a user is to the boards: four files in a folder of their own, made at first use.

ca.pem, ca.key     the user's authority: boards that trust it let this user in, and have certificates of it
host.pem, host.key what this user shows when dialling; renewed by itself, the authority stays

Copied whole to another machine they are the same user there.
"""

from __future__ import annotations

import errno
import getpass
import logging
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edgepareto.host.config.devices import BOARD_ID
from edgepareto.host.config.folder import config_folder, locked, sync_folder, write_whole
from edgepareto.host.credentials.certificates import (
    KeyPair,
    certificate_facts,
    fits,
    is_issued_by,
    make_authority,
    make_board_pair,
    make_host_pair,
    new_host_certificate,
)
from edgepareto.host.errors import ConfigError

__all__ = [
    "BoardCredentials",
    "Identity",
    "check_identity",
    "credentials_folder",
    "issue_board_credentials",
    "own_identity",
]

FILES = ("ca.pem", "ca.key", "host.pem", "host.key")
KEYS = ("ca.key", "host.key")
PROMOTED = "promoted"  # a finished rotation whose files are not all in place yet
DISCARDED = "discarded"  # an abandoned one whose files are not all gone yet
RENEW_BEFORE = timedelta(days=60)
OWNER_LENGTH = 41  # a name in a certificate holds 64 characters; the authority's has 23 around the owner

BoardCredentials = KeyPair  # what a board shows; made here, installed there, and not kept

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Nothing secret is in here; the keys stay in `folder`.

    fingerprint: of the authority, which is what boards and colleagues know a user by; hex sha256, as
    certificate_fingerprint is of the certificate that dials, good until expires_at.
    """

    folder: Path
    owner: str
    fingerprint: str
    ca_pem: bytes
    certificate_fingerprint: str
    certificate_pem: bytes
    expires_at: datetime


def credentials_folder() -> Path:
    return config_folder() / "credentials"


def own_identity(folder: Path | None = None) -> Identity:
    """The user's identity: made where there is none yet, its certificate renewed where it ends soon.

    folder: credentials_folder() by default. Raises ConfigError for one that is incomplete, or open to other users.
    """
    folder = folder or credentials_folder()
    with identity_lock(folder):
        return made_identity(folder)


def made_identity(folder: Path) -> Identity:
    """`own_identity` for who holds the lock."""
    if not folder.exists() or not any(folder.iterdir()):
        make_identity(folder, _owner_name())
    return sound_identity(folder)


def check_identity(folder: Path) -> Identity:
    """Read the four files of a folder and check them against each other, the clock and other users. ConfigError."""
    _check_permissions(folder)
    content = {name: (folder / name).read_bytes() for name in FILES}
    try:
        ca, host = certificate_facts(content["ca.pem"]), certificate_facts(content["host.pem"])
        problem = _mismatch(content)
    except ValueError as error:
        raise ConfigError(f"{folder}: holds what is no certificate or key ({error}); {_way_out(folder)}") from error
    if problem is None and (not ca.is_authority or host.role != "host"):
        problem = f"ca.pem must be an authority and host.pem a host's, they are {ca.common_name}, {host.common_name}"
    now = datetime.now(timezone.utc)
    if problem is None and not host.not_before <= now < host.not_after:
        problem = f"host.pem ended on {host.not_after:%Y-%m-%d} and this machine's clock says {now:%Y-%m-%d}"
    if problem is not None:
        raise ConfigError(f"{folder}: {problem}; {_way_out(folder)}")
    return Identity(
        folder=folder,
        owner=host.common_name.partition(":")[2],
        fingerprint=ca.fingerprint,
        ca_pem=content["ca.pem"],
        certificate_fingerprint=host.fingerprint,
        certificate_pem=content["host.pem"],
        expires_at=host.not_after,
    )


def issue_board_credentials(identity: Identity, board_id: str) -> BoardCredentials:
    """A new certificate and key of the board, good for ever; only the board is to keep the key."""
    if BOARD_ID.fullmatch(board_id) is None:
        raise ConfigError(f"board id {board_id!r}: must be 1 to 48 lower-case letters, digits and -")
    return make_board_pair(board_id, authority_of(identity))


def authority_of(identity: Identity) -> KeyPair:
    return KeyPair(certificate_pem=identity.ca_pem, key_pem=key_of(identity, "ca.key", identity.ca_pem))


def key_of(identity: Identity, name: str, certificate_pem: bytes) -> bytes:
    """Raises ConfigError where another command has ended a rotation since `identity` was read."""
    file = identity.folder / name
    try:
        key_pem = file.read_bytes()
        is_the_same = fits(certificate_pem, key_pem)
    except (FileNotFoundError, ValueError):
        is_the_same = False
    if not is_the_same:
        raise ConfigError(f"{file}: was replaced by another command just now; run this one again")
    return key_pem


@contextmanager
def identity_lock(folder: Path) -> Iterator[None]:
    """One process at a time makes, renews, rotates or reads an identity."""
    with locked(folder):
        _complete_rotation(folder)
        yield


def make_identity(folder: Path, owner: str) -> None:
    """All four files or none, under the lock. Leftovers of a process that died meanwhile go."""
    for leftover in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(leftover)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    authority = make_authority(owner)
    host = make_host_pair(owner, authority, now=datetime.now(timezone.utc))
    contents = (authority.certificate_pem, authority.key_pem, host.certificate_pem, host.key_pem)
    for name, content in zip(FILES, contents, strict=True):
        write_whole(unfinished / name, content, mode=0o600 if name in KEYS else 0o644)
    unfinished.rename(folder)
    sync_folder(folder.parent)


def sound_identity(folder: Path) -> Identity:
    """Checked; its certificate is renewed first where it ends soon. Under the lock."""
    _check_permissions(folder)
    try:
        host = certificate_facts((folder / "host.pem").read_bytes())
    except ValueError:
        return check_identity(folder)  # which says what is wrong
    now = datetime.now(timezone.utc)
    if host.role != "host" or host.not_after - now > RENEW_BEFORE:
        return check_identity(folder)
    try:
        key_pem = (folder / "host.key").read_bytes()
        authority = KeyPair(certificate_pem=(folder / "ca.pem").read_bytes(), key_pem=(folder / "ca.key").read_bytes())
        renewed = new_host_certificate(host.common_name.partition(":")[2], key_pem, authority, now=now)
        write_whole(folder / "host.pem", renewed)
    except ValueError:
        return check_identity(folder)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.ENOSPC):
            raise
        log.warning("%s ends on %s and cannot be renewed: %s", folder / "host.pem", host.not_after, error.strerror)
    return check_identity(folder)


def _complete_rotation(folder: Path) -> None:
    """Goes on where the end of a rotation was cut off: its commit was the folder's new name."""
    if (folder / DISCARDED).is_dir():
        shutil.rmtree(folder / DISCARDED)
    promoted = folder / PROMOTED
    if not promoted.is_dir():
        return
    for name in FILES:
        if (promoted / name).exists():
            (promoted / name).replace(folder / name)
    shutil.rmtree(promoted)


def _mismatch(content: dict[str, bytes]) -> str | None:
    if not fits(content["ca.pem"], content["ca.key"]):
        return "ca.key is not the key of ca.pem"
    if not fits(content["host.pem"], content["host.key"]):
        return "host.key is not the key of host.pem"
    if not is_issued_by(content["host.pem"], content["ca.pem"]):
        return "host.pem was not issued by ca.pem"
    return None


def _check_permissions(folder: Path) -> None:
    """Raises ConfigError where a file is missing, another user's, or a key can be read by others."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder; {_way_out(folder)}")
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"{folder}: lacks {', '.join(missing)}; {_way_out(folder)}")
    for path in (folder, *(folder / name for name in KEYS)):
        found = path.stat()
        if found.st_uid not in (os.geteuid(), 0):
            raise ConfigError(f"{path}: belongs to another user (uid {found.st_uid}); run this as that user")
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            allowed = "700" if path == folder else "600"
            mode = stat.S_IMODE(found.st_mode)
            raise ConfigError(
                f"{path}: holds a private key and is open to other users (mode {mode:o}, allowed {allowed}); "
                f"chmod {allowed} {path}"
            )


def _way_out(folder: Path) -> str:
    return (
        f"copy {folder} whole from where it works, or move it away for a new identity and run host deploy "
        "for every board again"
    )


def _owner_name() -> str:
    """user@machine, of the characters that every certificate, file name and log can hold."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        user = "unknown"
    return re.sub(r"[^A-Za-z0-9._@-]", "-", f"{user}@{platform.node() or 'unknown'}")[:OWNER_LENGTH]
