"""Install the agent on boards, over SSH."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.config import METER_KINDS, DeviceConfig, read_devices, read_known
from edgepareto.host.config.devices import HOST_KEY
from edgepareto.host.errors import ConfigError, EdgeParetoError, WrongUse

if TYPE_CHECKING:
    from edgepareto.host.deploy.agent_installer import Deployed, Report
    from edgepareto.host.deploy.ask import Ask
    from edgepareto.host.deploy.side_by_side import Errand

__all__ = ["DeployResult", "DeployTask", "deploy"]


class DeployTask(Enum):
    """What is to become of a board. INSTALL changes nothing where this release is installed already."""

    INSTALL = "install"
    UPGRADE = "upgrade"
    ROTATE = "rotate"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployResult:
    """What became of one device: exactly one of deployed and problem is set."""

    name: str
    deployed: Deployed | None
    problem: str | None


def deploy(
    devices: Sequence[str | DeviceConfig],
    *,
    task: DeployTask = DeployTask.INSTALL,
    wheelhouse: str | Path | None = None,
    host_key: str | None = None,
    agent_port: int | None = None,
    meter: str | None = None,
    shunt_ohm: float | None = None,
    shared: bool | None = None,
    is_sure: bool = False,
    settings: str | Path | None = None,
    ask: Ask | None = None,
    report_for: Callable[[str], Report] | None = None,
) -> tuple[DeployResult, ...]:
    """Install, upgrade, rotate or remove the agent of each device, side by side; one's failure leaves the others.

    ask: a person at a terminal, for passwords and first contact; None: whoever has to be asked is a failure.
    host_key: "SHA256:..." of the one device. report_for: who is told how far a device is.
    Raises WrongUse, ConfigError for what does not fit before any board is touched. After Ctrl-C each board that is not
    done yet is put back as it was, then KeyboardInterrupt passes through.
    """
    from edgepareto.host.deploy.agent_installer import DeployWish, deploy_agent, remove_agent
    from edgepareto.host.deploy.rotation import close_rotation, rotate_agent
    from edgepareto.host.deploy.side_by_side import side_by_side

    chosen = _chosen(devices, settings)
    by_board: dict[tuple[str | None, int | None], str] = {}
    for device in chosen:
        other = by_board.setdefault((device.ssh, device.ssh_port), device.name)
        if device.ssh is not None and other != device.name:
            raise WrongUse(f"{other} and {device.name} are the same board, {device.ssh}; name one of them")
    if host_key is not None and len(chosen) > 1:
        raise WrongUse(f"--host-key is one board's, {len(chosen)} were named; give each its own: host devices add")
    if host_key is not None and HOST_KEY.fullmatch(host_key) is None:
        raise WrongUse(
            f"--host-key {host_key}: must read SHA256: and 43 characters, as on the board "
            "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows it"
        )
    if wheelhouse is not None:
        _must_hold_wheels(Path(wheelhouse))
    if meter is not None and meter not in METER_KINDS:
        raise WrongUse(f"--meter {meter}: is none that an agent knows; {', '.join(METER_KINDS)}")
    if shunt_ohm is not None and not 0 < shunt_ohm < math.inf:
        raise WrongUse(f"--shunt-ohm {shunt_ohm}: must be more than 0, as 0.1")
    wish = DeployWish(
        upgrade=task is DeployTask.UPGRADE,
        wheelhouse=None if wheelhouse is None else Path(wheelhouse),
        host_key=host_key,
        is_sure=is_sure,
        agent_port=agent_port,
        meter=meter,
        shunt_ohm=shunt_ohm,
        shared=shared,
    )
    work = {DeployTask.REMOVE: remove_agent, DeployTask.ROTATE: rotate_agent}.get(task, deploy_agent)

    def treated(device: DeviceConfig, errand: Errand) -> DeployResult:
        report = _Silence() if report_for is None else report_for(device.name)
        try:
            done = work(device, wish, errand=errand, report=report)
        except EdgeParetoError as error:
            report.step("failed")  # why is the result's to say
            return DeployResult(name=device.name, deployed=None, problem=str(error))
        report.step(done.outcome.value)
        return DeployResult(name=device.name, deployed=done, problem=None)

    results = side_by_side(chosen, treated, person=ask)
    if task is DeployTask.ROTATE and any(result.deployed is not None for result in results):
        behind = close_rotation(_known(settings))
        results = tuple(_with_note(result, behind) for result in results)
    return results


def _chosen(devices: Sequence[str | DeviceConfig], settings: str | Path | None) -> tuple[DeviceConfig, ...]:
    file = None if settings is None else Path(settings)
    chosen = read_devices(file, devices, otherwise="or first host devices add NAME USER@HOST")
    if not chosen:
        raise WrongUse("which board? host deploy NAME; host devices list shows them")
    for device in chosen:
        if device.ssh is None and device.trust is not None:
            raise ConfigError(
                f"{device.name}: is a colleague's board, which only its owner deploys, by SSH; your card lets you "
                f"measure there: host devices check {device.name}"
            )
        if device.ssh is None:
            raise ConfigError(
                f"{device.name}: is no board that SSH reaches from here; host devices add NAME USER@HOST, then "
                "host deploy NAME"
            )
    return chosen


def _must_hold_wheels(folder: Path) -> None:
    """Whether they fit is seen where the board is."""
    if not folder.is_dir():
        raise WrongUse(f"--wheelhouse {folder}: there is no such folder; give one with .whl files, or leave it out")
    if not any(folder.glob("*.whl")):
        raise WrongUse(f"--wheelhouse {folder}: holds no .whl file; put wheels for the board there, or leave it out")


def _known(settings: str | Path | None) -> tuple[DeviceConfig, ...]:
    return read_known(None if settings is None else Path(settings))


def _with_note(result: DeployResult, behind: Sequence[str]) -> DeployResult:
    if result.deployed is None or not behind:
        return result
    note = f"the rotation stays open for {', '.join(behind)}: host deploy {' '.join(behind)} --rotate"
    return replace(result, deployed=replace(result.deployed, notes=(*result.deployed.notes, note)))


class _Silence:
    def step(self, text: str) -> None: ...
    def progress(self, done_bytes: int, all_bytes: int) -> None: ...
    def checks(self, checks: Sequence[object]) -> None: ...
