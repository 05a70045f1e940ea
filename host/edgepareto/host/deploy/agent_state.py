"""What a board says of its agent over SSH: why it does not answer or lets nobody in, its log, its owners."""

from __future__ import annotations

import base64
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from edgepareto.host.credentials import Identity, short_fingerprint
from edgepareto.host.deploy.ssh_shell import Shell
from edgepareto.host.errors import DeployError

__all__ = ["AgentState", "Owner", "explain", "grant_owner", "log_lines", "read_owners", "read_state", "revoke_owner"]

INSTALLER = "/opt/edgepareto/install-agent.sh"
UNIT = "edgepareto-agent.service"
LOG_FILE = "/var/lib/edgepareto-agent/agent.log"  # where there is no systemd
LAST_LINES = 40
MOST_SKEW_S = 120.0
ASK_S = 30.0
# What gRPC's handshaker writes to the journal; it tells the other side nothing.
HANDSHAKES = (
    (r"certificate has expired|certificate is not yet valid", "a host's certificate is not valid by the board's clock"),
    (r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", "a host showed the certificate of an unknown owner"),
    (r"PEER_DID_NOT_RETURN_A_CERTIFICATE", "something dialled it without a certificate"),
    (r"WRONG_VERSION_NUMBER|HTTP_REQUEST", "something dialled it in plain text"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose hosts may use the board. fingerprint: lower-case hex sha256 of the authority."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """unit: as systemd says it, "active (running)"; None without systemd. owners, certificate_pem: None, () where we
    may not read them. clock_ahead_s: of the board before this machine. log: its last lines, the newest last.
    """

    is_installed: bool
    unit: str | None
    is_active: bool
    clock_ahead_s: float
    owners: tuple[Owner, ...]
    certificate_pem: bytes | None
    log: tuple[str, ...]


def read_state(shell: Shell) -> AgentState:
    """As root where that is possible without asking. Raises DeployError."""
    root = _may_be_root(shell)
    began = time.time()
    clock = shell.check("date +%s", timeout_s=ASK_S).strip()
    is_installed = shell.run(f"[ -e {_program()} ]", timeout_s=ASK_S).exit_code == 0
    status = shell.run(f"{INSTALLER} status", root=root, timeout_s=ASK_S).stdout if is_installed and root else ""
    found = dict(_pairs(status))
    shown = shell.run(f"systemctl show {UNIT} -p ActiveState -p SubState -p Result", timeout_s=ASK_S)
    unit = dict(_pairs(shown.stdout)) if shown.exit_code == 0 else {}
    words = f"{unit['ActiveState']} ({unit.get('SubState', '')})" if "ActiveState" in unit else None
    certificate = found.get("certificate")
    return AgentState(
        is_installed=is_installed,
        unit=words,
        is_active=unit.get("ActiveState") == "active" or found.get("active") == "yes",
        clock_ahead_s=int(clock) - began,
        owners=tuple(_owners(status)),
        certificate_pem=_pem(certificate) if certificate else None,
        log=_last_log(shell, root=root),
    )


def explain(state: AgentState, identity: Identity | None, now: datetime | None = None) -> tuple[str, ...]:
    """Why the agent does not answer us, likeliest first, and what the board says beside that. Each is one line."""
    lines: list[str] = []
    if not state.is_installed:
        return ("no agent is installed on the board; host deploy installs it",)
    if state.unit is not None and not state.is_active:
        last = state.log[-1] if state.log else "its journal is empty, or not ours to read"
        lines.append(f"{UNIT} is {state.unit}: {last}")
    mine = None if identity is None else identity.fingerprint
    if state.owners and mine is not None and mine not in [owner.fingerprint for owner in state.owners]:
        known = ", ".join(f"{owner.name} {short_fingerprint(owner.fingerprint)}" for owner in state.owners)
        lines.append(
            f"our authority {short_fingerprint(mine)} is not among its owners ({known}); host deploy, or an owner's "
            "host devices grant, puts it there"
        )
    board_now = (now or datetime.now(timezone.utc)).timestamp() + state.clock_ahead_s
    if identity is not None and board_now >= identity.expires_at.timestamp():
        ends = f"{identity.expires_at:%Y-%m-%d}"
        lines.append(f"by the board's clock our certificate has ended ({ends}); set its clock: host deploy does")
    if abs(state.clock_ahead_s) > MOST_SKEW_S:
        side = "ahead of" if state.clock_ahead_s > 0 else "behind"
        lines.append(f"its clock is {abs(state.clock_ahead_s):.0f} s {side} this machine's")
    lines += _certificate_lines(state, board_now)
    lines += _handshake_lines(state.log)
    if not lines:
        running = state.unit or "not under systemd"
        lines.append(f"the agent is there ({running}); is its port open to us, and the address right?")
        lines += [f"its log ends with: {line}" for line in state.log[-1:]]
    return tuple(lines)


def log_lines(shell: Shell, *, lines: int, follow: bool) -> Iterator[str]:
    """The journal's, or those of the agent's log file where there is no systemd. Raises DeployError."""
    root = not _reads_journal(shell)
    if shell.run("[ -d /run/systemd/system ]", timeout_s=ASK_S).exit_code == 0:
        follows = " --follow" if follow else ""
        command = f"journalctl --unit {UNIT} --unit 'edgepareto-worker@*' --lines {lines} --no-pager --output short-iso"
        return shell.stream(command + follows, root=root)
    if shell.run(f"[ -e {LOG_FILE} ]", root=root, timeout_s=ASK_S).exit_code != 0:
        raise DeployError(f"this board has no systemd and no {LOG_FILE}; its agent was started by hand, look there")
    return shell.stream(f"tail -n {lines}{' -f' if follow else ''} {LOG_FILE}", root=root)


def read_owners(shell: Shell) -> tuple[Owner, ...]:
    """Raises DeployError, also where no agent is installed."""
    return tuple(_owners(_installer(shell, "owners")))


def grant_owner(shell: Shell, name: str, ca_pem: bytes) -> None:
    """Let an owner's hosts in, from the next connection on; a name that is there is replaced. Raises DeployError."""
    _installer(shell, "grant", name, stdin=ca_pem)


def revoke_owner(shell: Shell, name: str) -> None:
    _installer(shell, "revoke", name)


def _installer(shell: Shell, verb: str, *arguments: str, stdin: bytes = b"") -> str:
    if shell.run(f"[ -e {_program()} ]", timeout_s=ASK_S).exit_code != 0:
        raise DeployError("no agent is installed on this board; host deploy installs it")
    words = " ".join([verb, *(shlex.quote(argument) for argument in arguments)])
    result = shell.run(f"{INSTALLER} {words}", root=True, stdin=stdin)
    if result.exit_code != 0:
        said = (result.stderr.strip() or result.stdout.strip() or "it said nothing").splitlines()[-1]
        raise DeployError(f"{verb} failed on the board: {said.removeprefix('error: ')}")
    return result.stdout


def _program() -> str:
    return INSTALLER.rpartition(" ")[2]


def _may_be_root(shell: Shell) -> bool:
    try:
        return shell.run(":", root=True, timeout_s=ASK_S).exit_code == 0
    except DeployError:
        return False


def _reads_journal(shell: Shell) -> bool:
    return bool({"adm", "systemd-journal", "root"} & set(shell.check("id -Gn", timeout_s=ASK_S).split()))


def _last_log(shell: Shell, *, root: bool) -> tuple[str, ...]:
    journal = f"journalctl --unit {UNIT} --lines {LAST_LINES} --no-pager --output cat 2>/dev/null"
    command = f"{journal} || tail -n {LAST_LINES} {LOG_FILE} 2>/dev/null"
    said = shell.run(command, root=root, timeout_s=ASK_S).stdout
    return tuple(line.strip() for line in said.splitlines() if line.strip() and not line.startswith("-- "))


def _certificate_lines(state: AgentState, board_now: float) -> Iterator[str]:
    from edgepareto.host.credentials import certificate_facts

    if state.certificate_pem is None:
        return
    try:
        facts = certificate_facts(state.certificate_pem)
    except ValueError as error:
        yield f"its certificate cannot be read ({error}); host deploy --rotate makes another"
        return
    if not facts.not_before.timestamp() <= board_now < facts.not_after.timestamp():
        yield (
            f"its certificate {facts.common_name} is valid {facts.not_before:%Y-%m-%d} to {facts.not_after:%Y-%m-%d}, "
            "which is not now"
        )


def _handshake_lines(log: tuple[str, ...]) -> Iterator[str]:
    for line in reversed(log):
        for pattern, words in HANDSHAKES:
            if re.search(pattern, line, re.IGNORECASE):
                yield f"its journal says: {words}"
                return


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, is_pair, value = line.partition("=")
        if is_pair:
            yield key, value


def _owners(status: str) -> Iterator[Owner]:
    for key, value in _pairs(status):
        name, _, fingerprint = value.partition(" ")
        if key == "owner" and re.fullmatch(r"[0-9a-f]{64}", fingerprint):
            yield Owner(name=name, fingerprint=fingerprint)


def _pem(base64_text: str) -> bytes | None:
    try:
        der = base64.b64decode(base64_text, validate=True)
    except ValueError:
        return None
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode()
