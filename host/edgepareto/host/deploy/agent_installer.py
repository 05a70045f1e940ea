"""A board by SSH, from nothing to an agent that answers: look, gather, send, install, verify, remember.

What is done on the board, its own script does (deploy/install-agent.sh), which puts everything back where a step fails.
Here is decided what to send, and whether the new agent is good as seen from this machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from shlex import quote
from typing import Protocol

from edgepareto.host.config import DeviceConfig, record_board
from edgepareto.host.credentials import mark_returned, open_rotation
from edgepareto.host.deploy.board_platform import BoardPlatform
from edgepareto.host.deploy.bundle import INSTALL_SCRIPT, BundleFile, Settings, bundle_files, folders_of
from edgepareto.host.deploy.installed import BoardState, call_script, read_state
from edgepareto.host.deploy.ownership import refuse_removal_of_anothers, refuse_while_held, wanted_credentials
from edgepareto.host.deploy.preflight import AGENT_PORT, Wanted, judge, look_over
from edgepareto.host.deploy.side_by_side import Errand
from edgepareto.host.deploy.ssh import Shell, open_shell, ssh_target
from edgepareto.host.deploy.wheelhouse import Wheelhouse, gather_wheelhouse
from edgepareto.host.domain import DeviceInfo
from edgepareto.host.domain.board_facts import BoardFacts, Check, CheckState
from edgepareto.host.errors import ConfigError, DeployError, DeviceError, Unreachable
from edgepareto.host.fleet import probe

__all__ = ["DeployWish", "Deployed", "Outcome", "Report", "deploy_agent", "remove_agent"]

AUTO_METER = "auto"
SETTINGS = ("address", "meter", "shunt_ohm", "shared")  # what a deployment may change of a device
MOST_SKEW_S = 5.0
ANSWER_S = 30.0  # for the new agent to be reached from here
ANSWER_POLL_S = 1.0
AS_IT_WAS = "the board is as it was"


class Outcome(Enum):
    INSTALLED = "installed"
    UPGRADED = "upgraded"
    UNCHANGED = "unchanged"
    ROTATED = "rotated"
    REMOVED = "removed"
    NOT_THERE = "nothing was installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployWish:
    """What the user asked for. agent_port, meter, shunt_ohm, shared: None: as in the inventory; else written to it too.

    meter "auto": found by the agent. is_sure: also where somebody holds the board, or another user's credentials are
    on it.
    """

    upgrade: bool = False
    wheelhouse: Path | None = None
    host_key: str | None = None
    is_sure: bool = False
    agent_port: int | None = None
    meter: str | None = None
    shunt_ohm: float | None = None
    shared: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What became of one board. info: None after its removal. seconds: by step. notes: lines for the user."""

    device: DeviceConfig
    outcome: Outcome
    info: DeviceInfo | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Report(Protocol):
    """Told how far a board is; by the board's own thread."""

    def step(self, text: str) -> None: ...
    def progress(self, done_bytes: int, all_bytes: int) -> None: ...
    def checks(self, checks: Sequence[Check]) -> None: ...


def deploy_agent(device: DeviceConfig, wish: DeployWish, *, errand: Errand, report: Report) -> Deployed:
    """Raises DeviceError leaves, ConfigError; the board is then as it was."""
    return _Deployment(device, wish, errand, report).run()


def remove_agent(device: DeviceConfig, wish: DeployWish, *, errand: Errand, report: Report) -> Deployed:
    """Take everything off the board, and its id out of the inventory."""
    if device.board_id is not None:
        refuse_while_held(device, device.board_id, is_sure=wish.is_sure)
    report.step("connecting")
    with open_shell(ssh_target(device), ask=errand.ask, host_key=wish.host_key or device.host_key) as shell:
        state = read_state(shell, device.name)
        is_there = state.is_installed or state.is_partly_there
        refuse_removal_of_anothers(device, state, is_sure=wish.is_sure)
        if is_there and state.is_active:
            refuse_while_held(device, state.board_id, is_sure=wish.is_sure)
        errand.heed()
        if is_there:
            report.step("removing")
            _named(device, lambda: call_script(shell, "remove"))
    if device.board_id is not None:
        device = record_board(device, board_id=None)
    return Deployed(device=device, outcome=Outcome.REMOVED if is_there else Outcome.NOT_THERE)


class _Deployment:
    def __init__(self, device: DeviceConfig, wish: DeployWish, errand: Errand, report: Report) -> None:
        self._known = device
        self._device = _as_wished(device, wish)
        self._changed = tuple(key for key in SETTINGS if getattr(self._device, key) != getattr(device, key))
        self._name = device.name
        self._wish = wish
        self._errand = errand
        self._report = report
        self._seconds: dict[str, float] = {}
        self._notes: list[str] = []
        self._port = int((self._device.address or f":{AGENT_PORT}").rpartition(":")[2])

    def run(self) -> Deployed:
        wish, device = self._wish, self._device
        if self._known.board_id is not None:  # before SSH, whose load spoils what is being measured
            refuse_while_held(self._known, self._known.board_id, is_sure=wish.is_sure)
        with open_shell(ssh_target(device), ask=self._errand.ask, host_key=wish.host_key or device.host_key) as shell:
            with self._timed("looking the board over"):
                facts = look_over(shell, self._name, port=self._port)
                self._check(facts)
                state = read_state(shell, self._name)
            with self._timed("gathering the packages"):
                wheelhouse = self._gather(facts)
            self._refuse_unasked(state, facts, wheelhouse)
            credentials = wanted_credentials(device, state, is_sure=wish.is_sure)
            is_other = state.release != wheelhouse.release or credentials is not None or self._changed
            if state.is_active and is_other:
                refuse_while_held(device, state.board_id, is_sure=wish.is_sure)
            self._set_clock(shell, facts)
            files = bundle_files(wheelhouse, self._settings(facts), credentials=credentials)
            with shell.folder() as bundle:
                has_release = state.release == wheelhouse.release
                with self._timed("comparing, nothing to send" if has_release else "sending"):
                    self._send(shell, bundle, files, has_release=has_release)
                if credentials is not None and open_rotation() is not None:
                    # It may have moved before it was flashed anew. First, for a host can be killed in between.
                    mark_returned(state.board_id)
                outcome = self._install(shell, bundle, state)
            info = self._verified(shell, state, outcome, wheelhouse.agent_version)
        device = record_board(device, board_id=state.board_id, changed=self._changed)
        return Deployed(device=device, outcome=outcome, info=info, seconds=self._seconds, notes=tuple(self._notes))

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        self._errand.heed()
        self._report.step(step)
        began_s = time.monotonic()
        yield
        self._seconds[step] = self._seconds.get(step, 0.0) + time.monotonic() - began_s

    def _check(self, facts: BoardFacts) -> None:
        checks = judge(facts, Wanted(meter=self._device.meter, port=self._port, clock_modes=self._device.clock_modes))
        self._report.checks(checks)
        failed = [check for check in checks if check.state is CheckState.FAIL]
        if failed:
            raise DeployError(
                f"{self._name}: {'; '.join(f'{check.name}: {check.seen}: {check.advice}' for check in failed)}"
            )

    def _gather(self, facts: BoardFacts) -> Wheelhouse:
        python, glibc = facts.python, facts.glibc
        assert python is not None, "checked"
        assert glibc is not None, "checked"
        board = BoardPlatform(architecture=facts.architecture, python=python.version[:2], glibc=glibc)
        return gather_wheelhouse(board, given=self._wish.wheelhouse, tell=self._report.step, heed=self._errand.heed)

    def _settings(self, facts: BoardFacts) -> Settings:
        python = facts.python
        assert python is not None, "checked"
        return Settings(
            interpreter=python.path,
            port=self._port,
            meter=self._device.meter or AUTO_METER,
            shunt_ohm=self._device.shunt_ohm,
            shared=self._device.shared,
            clock_modes=self._device.clock_modes,
        )

    def _refuse_unasked(self, state: BoardState, facts: BoardFacts, wheelhouse: Wheelhouse) -> None:
        if state.is_installed and state.release != wheelhouse.release and not self._wish.upgrade:
            installed = state.release or f"{facts.agent_version or 'unknown'}, which is not whole,"
            raise DeployError(
                f"{self._name}: release {installed} is installed, this host has {wheelhouse.release}; "
                f"host deploy {self._name} --upgrade"
            )

    def _set_clock(self, shell: Shell, facts: BoardFacts) -> None:
        skew_s = facts.clock_ahead_s
        if abs(skew_s) <= MOST_SKEW_S:
            return
        synchronised = shell.run("timedatectl show -p NTPSynchronized --value").stdout.strip()
        if synchronised == "yes":
            self._notes.append(f"the clocks differ by {skew_s:+.0f} s and the board's is synchronised: is this one's?")
            return
        shell.check(f"date -u -s @{time.time():.0f}", root=True)
        self._notes.append(f"the board's clock was {abs(skew_s):.0f} s {'fast' if skew_s > 0 else 'slow'} and was set")

    def _send(self, shell: Shell, bundle: str, files: Sequence[BundleFile], *, has_release: bool) -> None:
        """Without the wheels where what they are of is installed already."""
        shell.check(f"umask 077; cd {quote(bundle)} && mkdir -p {' '.join(map(quote, folders_of(files)))}")
        missing = [file for file in files if file.sha256 is None or not has_release]

        def moved(done_bytes: int, all_bytes: int) -> None:
            self._errand.heed()
            if not has_release:
                self._report.progress(done_bytes, all_bytes)

        shell.upload([(file.source, f"{bundle}/{file.name}") for file in missing], moved)

    def _install(self, shell: Shell, bundle: str, state: BoardState) -> Outcome:
        result = ""
        step, began_s = "", time.monotonic()
        try:
            command = f"sh {quote(f'{bundle}/files/{INSTALL_SCRIPT}')} install {quote(bundle)}"
            for line in shell.stream(command, root=True, heed=self._errand.heed):
                kind, _, text = line.partition(" ")
                if kind == "step":
                    now_s = time.monotonic()
                    if step:
                        self._seconds[step] = now_s - began_s
                    step, began_s = text, now_s
                    self._report.step(text)
                elif kind == "note":
                    self._notes.append(text)
                elif kind == "result":
                    result = text
        except DeployError as error:
            said = re.sub(r"^.*ended with -?\d+: (?:error: )?", "", _without_name(error, self._name))
            is_cut_off = "SSH connection broke" in said
            then = "the board puts back what was done, at the latest when it is run again" if is_cut_off else AS_IT_WAS
            raise DeployError(f"{self._name}: {said}; {then}") from error
        if step:
            self._seconds[step] = time.monotonic() - began_s
        if result.startswith("unchanged"):
            return Outcome.UNCHANGED
        if not result.startswith("installed"):
            raise DeployError(f"{self._name}: the installation ended without a result; run it again")
        return Outcome.UPGRADED if state.is_installed else Outcome.INSTALLED

    def _verified(self, shell: Shell, state: BoardState, outcome: Outcome, version: str) -> DeviceInfo | None:
        """What the agent says to us over mutual TLS. Raises DeployError after everything was put back."""
        if not state.has_systemd:
            _named(self._device, lambda: call_script(shell, "commit"))
            return None  # the user starts it
        with self._timed("asking the agent"):
            try:
                info = self._answer(state, version)
            except (DeviceError, ConfigError) as error:
                if outcome is Outcome.UNCHANGED and not state.is_pending:
                    raise
                self._report.step("putting everything back")
                _named(self._device, lambda: call_script(shell, "rollback"))
                raise DeployError(
                    f"{self._name}: the agent runs, but from here: {_without_name(error, self._name)}; the board is "
                    f"as it was (is port {self._port} open, and {self._device.address} its address?)"
                ) from error
            _named(self._device, lambda: call_script(shell, "commit"))
        missing = [mode for mode in self._device.clock_modes if mode not in info.clock_modes]
        if missing:
            self._notes.append(
                f"its agent does not offer clock mode {', '.join(missing)}: host devices logs {self._name} says why"
            )
        return info

    def _answer(self, state: BoardState, version: str) -> DeviceInfo:
        device = replace(self._device, board_id=state.board_id)
        deadline_s = time.monotonic() + ANSWER_S
        while True:
            self._errand.heed()
            try:
                info = probe(device)
                break
            except Unreachable:
                if time.monotonic() >= deadline_s:
                    raise
                time.sleep(ANSWER_POLL_S)
        if info.board_id != state.board_id:
            raise DeployError(f"{self._name}: board {info.board_id} answers, {state.board_id} was installed")
        if info.agent_version != version:
            raise DeployError(
                f"{self._name}: its agent says that it is {info.agent_version}, installed is {version}: somebody "
                f"changed what lies there; host deploy {self._name} --remove, then host deploy {self._name}"
            )
        return info


def _as_wished(device: DeviceConfig, wish: DeployWish) -> DeviceConfig:
    meter, shunt_ohm = device.meter, device.shunt_ohm
    if wish.meter is not None:
        meter = None if wish.meter == AUTO_METER else wish.meter
        shunt_ohm = shunt_ohm if meter == device.meter else None  # the other meter's
    shunt_ohm = shunt_ohm if wish.shunt_ohm is None else wish.shunt_ohm
    address = device.address
    if wish.agent_port is not None and address is not None:
        address = f"{address.rpartition(':')[0]}:{wish.agent_port}"
    shared = device.shared if wish.shared is None else wish.shared
    return replace(device, meter=meter, shunt_ohm=shunt_ohm, address=address, shared=shared)


def _named(device: DeviceConfig, call: Callable[[], object]) -> None:
    try:
        call()
    except DeployError as error:
        raise DeployError(f"{device.name}: {_without_name(error, device.name)}") from error


def _without_name(error: Exception, name: str) -> str:
    return str(error).removeprefix(f"{name}: ")
