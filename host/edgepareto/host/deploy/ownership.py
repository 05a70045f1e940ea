"""Whose a board is and who measures on it: what is not done to it without a yes, and which credentials it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgepareto.host.config import DeviceConfig
from edgepareto.host.credentials import (
    BoardCredentials,
    Identity,
    issue_board_credentials,
    open_rotation,
    own_identity,
)
from edgepareto.host.credentials.certificates import certificate_facts, is_issued_by
from edgepareto.host.deploy.installed import BoardState
from edgepareto.host.errors import ConfigError, DeployError, DeviceError
from edgepareto.host.fleet.unlock import lease_holder

__all__ = ["refuse_removal_of_anothers", "refuse_while_held", "wanted_credentials"]


def refuse_while_held(device: DeviceConfig, board_id: str, *, is_sure: bool) -> None:
    """Raises DeployError where a host measures on the board, naming who, unless the user is sure."""
    if is_sure:
        return
    try:
        holder = lease_holder(replace(device, board_id=board_id))
    except (DeviceError, ConfigError):
        return  # it does not let us in, so it cannot be asked; what follows says why
    if holder is not None:
        raise DeployError(
            f"{device.name}: is held by {holder.owner}, whose batch would be lost; wait, or go on with --yes"
        )


def refuse_removal_of_anothers(device: DeviceConfig, state: BoardState, *, is_sure: bool) -> None:
    """Raises DeployError for a board that has owners and none is this user, who may be sure."""
    if state.owners and not _lets_in(state, _our_identities()) and not is_sure:
        raise _anothers(device, state)


def wanted_credentials(
    device: DeviceConfig, state: BoardState, *, is_sure: bool
) -> tuple[BoardCredentials, str, bytes] | None:
    """New ones for a board that has none of ours; None: it keeps what it has. DeployError where it is another's."""
    current = own_identity()
    ours = _our_identities()
    certificate = state.certificate_pem
    is_readable = certificate is not None and _is_readable(certificate)
    if certificate is not None and is_readable and _keeps(device, certificate, state, ours):
        return None
    locks_nobody_out = not state.owners or (not is_readable and _lets_in(state, ours))
    if not locks_nobody_out and not is_sure:
        raise _anothers(device, state)
    return issue_board_credentials(current, state.board_id), current.owner, current.ca_pem


def _keeps(device: DeviceConfig, certificate_pem: bytes, state: BoardState, ours: Sequence[Identity]) -> bool:
    """Signed by us and letting us in; or a colleague's that lets us in, whom the inventory trusts."""
    if not _lets_in(state, ours):
        return False
    signed = any(is_issued_by(certificate_pem, identity.ca_pem) for identity in ours)
    named = certificate_facts(certificate_pem).common_name == f"board:{state.board_id}"
    return (signed and named) or device.trust is not None


def _our_identities() -> tuple[Identity, ...]:
    """One, or two while a rotation is open."""
    rotation = open_rotation()
    return (own_identity(),) if rotation is None else (rotation.current, rotation.next)


def _lets_in(state: BoardState, ours: Sequence[Identity]) -> bool:
    return any(identity.fingerprint in state.owners.values() for identity in ours)


def _is_readable(certificate_pem: bytes) -> bool:
    try:
        certificate_facts(certificate_pem)
    except ValueError:
        return False
    return True


def _anothers(device: DeviceConfig, state: BoardState) -> DeployError:
    owners = ", ".join(state.owners)
    return DeployError(
        f"{device.name}: was installed by another user (owners: {owners}); ask for host devices grant, or go on with "
        "--yes, which locks them out"
    )
