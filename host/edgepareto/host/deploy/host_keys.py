"""Whether a host is the one we know: strict, from the first contact on. Nothing is ever accepted unseen."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.config import known_hosts_files
from edgepareto.host.config.folder import locked, write_whole
from edgepareto.host.errors import DeployError

if TYPE_CHECKING:
    from edgepareto.host.deploy.ask import Ask

__all__ = ["KnownKey", "check_host_key", "fingerprint", "known_keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """One line of a known_hosts file that names the host."""

    kind: str
    blob: bytes
    is_revoked: bool
    file: Path
    line: int


def fingerprint(blob: bytes) -> str:
    """As ssh-keygen -l shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def known_keys(known_as: str) -> tuple[KnownKey, ...]:
    """known_as: host or [host]:port. Lines that make no sense are passed over, as ssh does."""
    return tuple(key for file in known_hosts_files() if file.is_file() for key in _matching(file, known_as))


def check_host_key(
    name: str, known_as: str, kind: str, blob: bytes, known: Sequence[KnownKey], *, ask: Ask | None, wanted: str | None
) -> None:
    """Return where the key is the known one, the wanted one (SHA256:...), or the person says so; the last two are
    written into our own known_hosts. Raises DeployError otherwise.

    name: for messages. known: of `known_keys`.
    """
    seen = fingerprint(blob)
    for key in known:
        if key.is_revoked and key.blob == blob:
            raise DeployError(f"{name}: its host key {kind} {seen} is revoked in {key.file}:{key.line}; not connected")
    if wanted is not None and not _is_same(seen, wanted):
        raise DeployError(
            f"{name}: HOST KEY IS NOT THE WANTED ONE: it shows {kind} {seen}, wanted {wanted}; not connected. "
            f"On the board {_shows(kind)} the right one; then --host-key with that, or host devices add --replace "
            "where the inventory has another"
        )
    valid = [key for key in known if not key.is_revoked]
    if any(key.blob == blob for key in valid):
        return
    if valid:
        old = next((key for key in valid if key.kind == kind), valid[0])
        raise DeployError(
            f"{name}: HOST KEY HAS CHANGED: known is {old.kind} {fingerprint(old.blob)} ({old.file}:{old.line}), "
            f"it shows {kind} {seen}; somebody may be in between, not connected. Set up anew? On the board "
            f"{_shows(kind)} it; where it is the same: ssh-keygen -R '{known_as}' -f {old.file}"
        )
    if wanted is None:
        _ask(name, known_as, kind, seen, ask)
    _store(known_as, kind, blob)


def _ask(name: str, known_as: str, kind: str, seen: str, ask: Ask | None) -> None:
    if ask is None:
        raise DeployError(
            f"{name}: host key of {known_as} is not known; it shows {kind}; on the board {_shows(kind)} it; "
            f"where it is right: --host-key {seen}"
        )
    told = f"{name}: first contact with {known_as}. Its host key is {kind} {seen}"
    if not ask.confirm(f"{told}; on the board {_shows(kind)} it. Trust it?"):
        raise DeployError(f"{name}: the host key {seen} of {known_as} was not accepted; not connected")


def _shows(kind: str) -> str:
    """The command that shows a board's own key of a kind, as ecdsa-sha2-nistp256."""
    name = kind.removeprefix("ssh-").partition("-")[0]
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{name}_key.pub shows"


def _is_same(seen: str, wanted: str) -> bool:
    bare = wanted.strip().rstrip("=")
    bare = bare if bare.startswith("SHA256:") else f"SHA256:{bare}"
    return hmac.compare_digest(seen, bare)


def _store(known_as: str, kind: str, blob: bytes) -> None:
    ours, _ = known_hosts_files()
    with locked(ours):
        before = ours.read_bytes() if ours.is_file() else b""
        if before and not before.endswith(b"\n"):
            before += b"\n"
        line = f"{known_as} {kind} {base64.b64encode(blob).decode()}\n"
        write_whole(ours, before + line.encode(), mode=0o600)


def _matching(file: Path, known_as: str) -> Iterator[KnownKey]:
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or marker not in ("", "@revoked"):
            continue
        if not _names(words[0], known_as):
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except ValueError:
            continue
        yield KnownKey(kind=words[1], blob=blob, is_revoked=bool(marker), file=file, line=number)


def _names(patterns: str, known_as: str) -> bool:
    found = False
    for pattern in patterns.split(","):
        if pattern.startswith("|1|"):
            found = found or _is_hash_of(pattern, known_as)
        elif pattern.startswith("!"):
            if _fits(pattern[1:], known_as):
                return False
        else:
            found = found or _fits(pattern, known_as)
    return found


def _fits(pattern: str, known_as: str) -> bool:
    """Brackets are part of a name here, and no set of characters as fnmatch has them."""
    return fnmatch.fnmatchcase(known_as.lower(), pattern.lower().replace("[", "[[]"))


def _is_hash_of(pattern: str, known_as: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        wanted = hmac.new(base64.b64decode(salt), known_as.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(wanted, base64.b64decode(digest))
    except ValueError:
        return False
