"""What install-agent.sh tells of a board, and the calls to it that need no bundle."""

from __future__ import annotations

import io
import re
import tarfile
import textwrap
from dataclasses import dataclass
from shlex import quote

from edgepareto.host.credentials import BoardCredentials
from edgepareto.host.deploy.bundle import INSTALL_SCRIPT, board_file
from edgepareto.host.deploy.ssh_shell import Shell
from edgepareto.host.errors import DeployError

__all__ = ["BoardState", "call_script", "credentials_tar", "owners_in", "read_state"]

SCRIPT_S = 300.0
ANSWERING = ("status", "owners")  # the verbs that change nothing and end without a result
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
BOARD_SCRIPT = f"/opt/edgepareto/{INSTALL_SCRIPT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardState:
    """release "": none. owners: fingerprints by name. certificate_pem: of the board, perhaps one that
    cannot be read, as an empty one, or one whose key is empty; None without credentials.

    is_partly_there: an installation was cut off. is_pending: the last one was not confirmed yet.
    """

    board_id: str
    is_installed: bool
    is_partly_there: bool
    is_pending: bool
    release: str
    is_active: bool
    has_systemd: bool
    config_is_edited: bool
    certificate_pem: bytes | None
    owners: dict[str, str]


def call_script(shell: Shell, verb: str, argument: str = "", *, stdin: bytes = b"") -> str:
    """Run a verb: by this host's own script, or where the verb reads stdin by the board's. DeployError in its words."""
    words = " ".join([verb, *([quote(argument)] if argument else [])])
    command = f"{BOARD_SCRIPT} {words}" if stdin else f"sh -s -- {words}"
    result = shell.run(command, root=True, stdin=stdin or board_file(INSTALL_SCRIPT), timeout_s=SCRIPT_S)
    is_done = verb in ANSWERING or any(line.startswith("result ") for line in result.stdout.splitlines())
    if result.exit_code != 0 or not is_done:  # a script that lost its text to a power cut exits with 0
        said = [line for line in (*result.stdout.splitlines(), *result.stderr.splitlines()) if line.strip()]
        raise DeployError(
            f"{verb} on the board failed: {said[-1].removeprefix('error: ') if said else 'without a word'}"
        )
    return result.stdout


def read_state(shell: Shell, name: str) -> BoardState:
    """Changes nothing on the board. Raises DeployError."""
    said = call_script(shell, "status")
    pairs = [line.partition("=") for line in said.splitlines()]
    one = {key: value for key, is_fact, value in pairs if is_fact}
    if "board_id" not in one or "installed" not in one:
        raise DeployError(f"{name}: its shell did not tell what is installed; it said {pairs[-1:] or 'nothing'}")
    certificate = one.get("certificate")
    return BoardState(
        board_id=one["board_id"],
        is_installed=one["installed"] == "yes",
        is_partly_there=one["installed"] == "partly",
        is_pending=one["pending"] == "yes",
        release=one["release"],
        is_active=one["active"] == "yes",
        has_systemd=one["systemd"] == "yes",
        config_is_edited=one["config"] == "edited",
        certificate_pem=None if certificate is None else _pem(certificate),
        owners=owners_in(said),
    )


def owners_in(said: str) -> dict[str, str]:
    """Fingerprints by name, of the verbs status and owners."""
    pairs = [line.partition("=") for line in said.splitlines()]
    found = [value.rpartition(" ") for key, _, value in pairs if key == "owner"]
    return {name: fingerprint for name, _, fingerprint in found if FINGERPRINT.fullmatch(fingerprint)}


def credentials_tar(pair: BoardCredentials) -> bytes:
    """For the verb `credentials`; the key never lies in a file of the user who logged in."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (("agent.pem", pair.certificate_pem), ("agent.key", pair.key_pem)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _pem(base64_text: str) -> bytes:
    lines = textwrap.wrap(base64_text, 64)
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""]).encode()
