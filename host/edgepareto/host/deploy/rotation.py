"""A new authority for a board that knows the old one: at no moment does it know neither.

    board trusts both -> board shows a certificate of the new one -> seen from here -> the old one goes

Cut off anywhere, the board lets in one of the two identities that this machine still has, and doing it again goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from edgepareto.host.config import DeviceConfig, record_board
from edgepareto.host.credentials import (
    Identity,
    begin_rotation,
    client_credentials,
    finish_rotation,
    issue_board_credentials,
    mark_moved,
    mark_returned,
    open_rotation,
)
from edgepareto.host.credentials.certificates import is_issued_by
from edgepareto.host.deploy.agent_installer import Deployed, DeployWish, Outcome, Report
from edgepareto.host.deploy.installed import BoardState, call_script, credentials_tar, read_state
from edgepareto.host.deploy.ownership import refuse_while_held
from edgepareto.host.deploy.side_by_side import Errand
from edgepareto.host.deploy.ssh import Shell, open_shell, ssh_target
from edgepareto.host.domain import DeviceInfo
from edgepareto.host.errors import DeployError, DeviceError
from edgepareto.host.fleet.visit import visit_as

__all__ = ["close_rotation", "rotate_agent"]

NEXT = ".next"  # after the owner's name on the board, while the old one is still there


def rotate_agent(device: DeviceConfig, wish: DeployWish, *, errand: Errand, report: Report) -> Deployed:
    """Move one board to the next authority, which is made where no rotation is open. Raises DeviceError leaves."""
    if device.board_id is not None:
        refuse_while_held(device, device.board_id, is_sure=wish.is_sure)
    report.step("connecting")
    with open_shell(ssh_target(device), ask=errand.ask, host_key=wish.host_key or device.host_key) as shell:
        state = read_state(shell, device.name)
        _check(device, state)
        refuse_while_held(device, state.board_id, is_sure=wish.is_sure)
        device = replace(device, board_id=state.board_id)
        errand.heed()
        rotation = begin_rotation()
        issuers = _issuers(state.certificate_pem, (rotation.current, rotation.next))
        if not issuers:
            raise DeployError(
                f"{device.name}: its certificate is neither of the old nor of the new authority of this user; "
                f"host deploy {device.name} says whose it is"
            )
        owner = rotation.next.owner
        if issuers == [rotation.current] or rotation.next.fingerprint not in state.owners.values():
            report.step("the board learns the new authority")
            call_script(shell, "grant", owner + NEXT, stdin=rotation.next.ca_pem)
        if issuers == [rotation.current]:
            report.step("the board gets a new certificate")
            _show(shell, rotation.next, state.board_id)
        report.step("asking the agent")
        info = _seen(device, rotation.next, rotation.current, shell, state)
        mark_moved(state.board_id)
        report.step("the board forgets the old authority")
        call_script(shell, "grant", owner, stdin=rotation.next.ca_pem)
        _forget(shell, device, rotation.current, owner)
        device = record_board(device, board_id=state.board_id)
    return Deployed(device=device, outcome=Outcome.ROTATED, info=info)


def close_rotation(known: Sequence[DeviceConfig]) -> tuple[str, ...]:
    """The new authority becomes the only one as soon as every board of the inventory has moved.

    Returns the names of the boards that have not; empty: done.
    """
    rotation = open_rotation()
    if rotation is None:
        return ()
    ours = {device.name: device.board_id for device in known if device.board_id is not None and device.trust is None}
    behind = tuple(name for name, board_id in ours.items() if board_id not in rotation.moved)
    if not behind:
        board_ids: Collection[str] = [board_id for board_id in ours.values() if board_id is not None]
        finish_rotation(board_ids=board_ids)
    return behind


def _check(device: DeviceConfig, state: BoardState) -> None:
    if not state.is_installed or state.certificate_pem is None:
        raise DeployError(
            f"{device.name}: has no credentials yet, so there is nothing to rotate; host deploy {device.name}"
        )
    if device.trust is not None:
        raise DeployError(
            f"{device.name}: is a colleague's board, whose certificate only its owner can replace; after your own "
            "rotation ask for host devices grant with your new identity"
        )


def _issuers(certificate_pem: bytes | None, identities: Sequence[Identity]) -> list[Identity]:
    """None of them for a certificate that cannot be read."""
    try:
        return [one for one in identities if certificate_pem is not None and is_issued_by(certificate_pem, one.ca_pem)]
    except ValueError:
        return []


def _show(shell: Shell, identity: Identity, board_id: str) -> None:
    call_script(shell, "credentials", stdin=credentials_tar(issue_board_credentials(identity, board_id)))


def _seen(device: DeviceConfig, new: Identity, old: Identity, shell: Shell, state: BoardState) -> DeviceInfo:
    """By the new identity alone. Where it is not let in the board gets a certificate of the old one again; not where it
    has forgotten the old authority, for it would then let neither in.
    """
    try:
        return visit_as(device, client_credentials(new, state.board_id, None))
    except DeviceError as error:
        said = str(error).removeprefix(f"{device.name}: ")
        if old.fingerprint not in state.owners.values():
            raise DeployError(
                f"{device.name}: knows the new authority alone, and does not answer ({said}); run it again"
            ) from error
        _show(shell, old, state.board_id)
        mark_returned(state.board_id)
        raise DeployError(
            f"{device.name}: does not take the new authority ({said}); it has the old one again, run it again"
        ) from error


def _forget(shell: Shell, device: DeviceConfig, old: Identity, owner: str) -> None:
    """Every name under which the board still has the old authority, and the name of the step between."""
    for name, fingerprint in read_state(shell, device.name).owners.items():
        if fingerprint == old.fingerprint or name == owner + NEXT:
            call_script(shell, "revoke", name)
