"""What a board says of its agent over SSH: why it does not answer or lets nobody in, its log, its owners."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from edgepareto.host.credentials import Identity, short_fingerprint
from edgepareto.host.deploy import installed
from edgepareto.host.deploy.installed import call_script, owners_in, read_state
from edgepareto.host.deploy.ssh_shell import Shell
from edgepareto.host.errors import DeployError

__all__ = ["AgentState", "Owner", "explain", "grant_owner", "log_lines", "look_at_agent", "read_owners", "revoke_owner"]

UNIT = "edgepareto-agent.service"
LOG_FILE = "/var/lib/edgepareto-agent/agent.log"  # written by start-agent, where there is no systemd
LAST_LINES = 40
MOST_SKEW_S = 120.0
ASK_S = 30.0
# The agent's own words (its grpc_log.py); whoever was refused hears none.
REFUSAL = re.compile(r"refused a connection: (.+)")
# What systemd itself says of the unit, in the same journal.
OF_SYSTEMD = re.compile(
    r"(edgepareto-agent\.service: (?!Failed at step)|Start(ing|ed) |Stopp(ing|ed) |Failed to start |-- )"
)
INVOCATION = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose hosts may use the board. fingerprint: lower-case hex sha256 of the authority."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """name: the device's. unit: as systemd says it, "active (running)"; None without systemd. owners, certificate_pem:
    (), None where we may not read them. clock_ahead_s: of the board before this machine. log: what the agent itself
    said last, in its present run, or the last one where it does not run; the newest last.
    """

    name: str
    is_installed: bool
    unit: str | None
    is_active: bool
    clock_ahead_s: float
    owners: tuple[Owner, ...]
    certificate_pem: bytes | None
    log: tuple[str, ...]


def look_at_agent(shell: Shell, name: str) -> AgentState:
    """As root where that is possible without asking. Raises DeployError."""
    root = _may_be_root(shell)
    began = time.time()
    clock = shell.check("date +%s", timeout_s=ASK_S).strip()
    state = read_state(shell, name) if root else None
    shown = shell.run(f"systemctl show {UNIT} -p ActiveState -p SubState -p InvocationID", timeout_s=ASK_S)
    unit = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    words = f"{unit['ActiveState']} ({unit.get('SubState', '')})" if "ActiveState" in unit else None
    return AgentState(
        name=name,
        is_installed=_is_installed(shell),
        unit=words,
        is_active=unit.get("ActiveState") == "active",
        clock_ahead_s=int(clock) - began,
        owners=() if state is None else _owners(state.owners),
        certificate_pem=None if state is None else state.certificate_pem,
        log=_last_log(shell, unit.get("InvocationID", ""), root=root),
    )


def explain(state: AgentState, identity: Identity | None, now: datetime | None = None) -> tuple[str, ...]:
    """Why the agent does not answer us, likeliest first, and what the board says beside that. Each is one line."""
    lines: list[str] = []
    if not state.is_installed:
        return ("no agent is installed on the board; host deploy installs it",)
    if state.unit is not None and not state.is_active:
        last = state.log[-1] if state.log else "its journal is empty, or not ours to read"
        lines.append(f"{UNIT} is {state.unit}: {last}")
        lines.append(
            f"next: host deploy {state.name}, which repairs what it can, or on the board: sudo systemctl start {UNIT}"
        )
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
    if state.unit is None or state.is_active:
        lines += _refusals(state.log)
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
    _must_be_installed(shell)
    return _owners(owners_in(call_script(shell, "owners")))


def grant_owner(shell: Shell, name: str, ca_pem: bytes) -> None:
    """Let an owner's hosts in, from the next connection on; a name that is there is replaced. Raises DeployError."""
    _must_be_installed(shell)
    call_script(shell, "grant", name, stdin=ca_pem)


def revoke_owner(shell: Shell, name: str) -> None:
    _must_be_installed(shell)
    call_script(shell, "revoke", name)


def _is_installed(shell: Shell) -> bool:
    return shell.run(f"[ -s {installed.BOARD_SCRIPT} ]", timeout_s=ASK_S).exit_code == 0


def _must_be_installed(shell: Shell) -> None:
    if not _is_installed(shell):
        raise DeployError("no agent is installed on this board; host deploy installs it")


def _may_be_root(shell: Shell) -> bool:
    try:
        return shell.run(":", root=True, timeout_s=ASK_S).exit_code == 0
    except DeployError:
        return False


def _reads_journal(shell: Shell) -> bool:
    return bool({"adm", "systemd-journal", "root"} & set(shell.check("id -Gn", timeout_s=ASK_S).split()))


def _last_log(shell: Shell, invocation: str, *, root: bool) -> tuple[str, ...]:
    """invocation: systemd's name of the unit's present or last run; an older systemd has none."""
    run = f"_SYSTEMD_INVOCATION_ID={invocation}" if INVOCATION.fullmatch(invocation) else f"--unit {UNIT}"
    journal = f"journalctl {run} --lines {LAST_LINES} --no-pager --output cat 2>/dev/null"
    command = f"{journal} || tail -n {LAST_LINES} {LOG_FILE} 2>/dev/null"
    said = shell.run(command, root=root, timeout_s=ASK_S).stdout
    lines = [line.strip() for line in said.splitlines()]
    return tuple(line for line in lines if line and OF_SYSTEMD.match(line) is None)


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


def _refusals(log: tuple[str, ...]) -> Iterator[str]:
    for line in reversed(log):
        match = REFUSAL.search(line)
        if match is not None:
            yield f"its log says why it refused a connection last: {match[1]}"
            return


def _owners(fingerprints: dict[str, str]) -> tuple[Owner, ...]:
    return tuple(Owner(name=name, fingerprint=fingerprint) for name, fingerprint in fingerprints.items())
