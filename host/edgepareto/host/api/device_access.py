"""Who may use a board and who does: unlock, grant, revoke; its log; why it does not answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.config import DeviceConfig, read_devices
from edgepareto.host.credentials import (
    BoardCard,
    CertificateFacts,
    Identity,
    card_text,
    certificate_facts,
    credentials_folder,
    own_identity,
    short_fingerprint,
)
from edgepareto.host.domain.lease_holder import LeaseHolder
from edgepareto.host.errors import ConfigError, DeviceError, EdgeParetoError, WrongUse

if TYPE_CHECKING:
    from edgepareto.host.deploy.agent_state import Owner
    from edgepareto.host.deploy.ask import Ask
    from edgepareto.host.deploy.ssh import Shell

__all__ = [
    "board_log",
    "board_owners",
    "explain_devices",
    "grant_access",
    "lease_holder",
    "revoke_access",
    "unlock_device",
]

SSH_AT_ONCE = 8


def lease_holder(name: str, *, settings: str | Path | None = None) -> LeaseHolder | None:
    """Who holds a board; None: nobody. Raises WrongUse, Unreachable, Refused, WrongProtocol."""
    from edgepareto.host.fleet.unlock import lease_holder as ask

    return ask(_dialled(name, settings))


def unlock_device(name: str, *, settings: str | Path | None = None) -> LeaseHolder | None:
    """End the lease of whoever holds the board, who is told by whom, and say who it was. Raises as `lease_holder`."""
    from edgepareto.host.fleet import lease_owner
    from edgepareto.host.fleet.unlock import unlock

    return unlock(_dialled(name, settings), lease_owner("").strip())


@contextmanager
def board_log(
    name: str, *, lines: int = 100, follow: bool = False, ask: Ask | None = None, settings: str | Path | None = None
) -> Iterator[Iterator[str]]:
    """The lines of the agent's journal; with follow also those to come. ask: for passwords; None: nobody there.

    Raises WrongUse, DeployError.
    """
    from edgepareto.host.deploy.agent_state import log_lines

    with _shell(name, ask, settings) as (_, shell), _named(name):
        yield log_lines(shell, lines=lines, follow=follow)


def board_owners(name: str, *, ask: Ask | None = None, settings: str | Path | None = None) -> tuple[Owner, ...]:
    """Whose hosts may use the board. Raises WrongUse, DeployError."""
    from edgepareto.host.deploy.agent_state import read_owners

    with _shell(name, ask, settings) as (_, shell), _named(name):
        return read_owners(shell)


def grant_access(
    name: str,
    ca: str | Path,
    *,
    owner: str | None = None,
    card: str | Path | None = None,
    ask: Ask | None = None,
    settings: str | Path | None = None,
) -> tuple[Owner, Path]:
    """Let a colleague's hosts use a board, at once; returns whom, and the card that the colleague needs.

    ca: the file of `host devices identity -o`. owner: a name on the board, default the colleague's own. card: where the
    card goes, default NAME.card here. Raises WrongUse, ConfigError, DeployError; the board is as it was then.
    """
    from edgepareto.host.deploy.agent_state import Owner, grant_owner, read_owners
    from edgepareto.host.export.onnx_file import output_must_be_writable, write_whole

    pem, facts = _authority_in(Path(ca))
    granted = Owner(name=owner or _name_in(facts.common_name), fingerprint=facts.fingerprint)
    if re.fullmatch(r"[A-Za-z0-9_@][A-Za-z0-9._@-]*", granted.name) is None:
        raise WrongUse(f"owner {granted.name!r}: letters, digits and . _ @ - are allowed; give a name by --as")
    target = Path(card) if card is not None else Path(f"{name}.card")
    output_must_be_writable(target)
    device = _installed(name, settings)
    identity = own_identity()
    with _shell(name, ask, settings) as (_, shell), _named(name):
        for known in read_owners(shell):
            if known.name == granted.name and known.fingerprint != granted.fingerprint:
                raise DeviceError(
                    f"{name}: has an owner {known.name} already, {short_fingerprint(known.fingerprint)}; name this one "
                    f"otherwise by --as, or host devices revoke {name} --owner {known.name} first"
                )
        grant_owner(shell, granted.name, pem)
    given = BoardCard(
        name=name,
        address=device.address or "",
        board_id=device.board_id or "",
        ca_pem=identity.ca_pem,
        granted_by=identity.owner,
    )
    write_whole(target, card_text(given).encode())
    return granted, target


def revoke_access(
    name: str, owner: str, *, even_us: bool = False, ask: Ask | None = None, settings: str | Path | None = None
) -> Owner:
    """Let an owner's hosts in no more; connections that are open end within minutes. Returns who it was.

    owner: its name on the board, or the beginning of its fingerprint. even_us: may be ourselves. Raises WrongUse for
    one that the board does not know, or for us; DeployError.
    """
    from edgepareto.host.deploy.agent_state import read_owners, revoke_owner

    with _shell(name, ask, settings) as (_, shell), _named(name):
        owners = read_owners(shell)
        wanted = owner.removeprefix("SHA256:").lower()
        found = [known for known in owners if known.name == owner] or [
            known for known in owners if len(wanted) >= 8 and known.fingerprint.startswith(wanted)
        ]
        if len(found) != 1:
            known = ", ".join(f"{known.name} {short_fingerprint(known.fingerprint)}" for known in owners)
            raise WrongUse(f"{name}: no single owner {owner!r}; it knows {known or 'nobody'}")
        mine = own_identity().fingerprint if credentials_folder().is_dir() else None
        if found[0].fingerprint == mine and not even_us:
            raise WrongUse(f"{name}: {found[0].name} is you, and you could not use the board any more; --yes does it")
        revoke_owner(shell, found[0].name)
        return found[0]


def explain_devices(devices: Sequence[DeviceConfig]) -> tuple[tuple[str, ...], ...]:
    """Of each that has ssh, over SSH and at once, why its agent does not answer us. Nobody is asked for a password."""
    if not devices:
        return ()
    identity = own_identity() if credentials_folder().is_dir() else None
    with ThreadPoolExecutor(min(SSH_AT_ONCE, len(devices)), thread_name_prefix="explain") as threads:
        return tuple(threads.map(lambda device: _explained(device, identity), devices))


def _explained(device: DeviceConfig, identity: Identity | None) -> tuple[str, ...]:
    from edgepareto.host.deploy.agent_state import explain, look_at_agent
    from edgepareto.host.deploy.ssh import open_shell, ssh_target

    if device.ssh is None:
        return ()
    try:
        with open_shell(ssh_target(device), ask=None, host_key=device.host_key) as shell:
            lines = explain(look_at_agent(shell, device.name), identity)
    except EdgeParetoError as error:
        return (f"by SSH: {str(error).removeprefix(f'{device.name}: ')}",)
    return tuple(f"by SSH: {line}" for line in lines)


@contextmanager
def _shell(name: str, ask: Ask | None, settings: str | Path | None) -> Iterator[tuple[DeviceConfig, Shell]]:
    from edgepareto.host.deploy.ssh import open_shell, ssh_target

    device = _device(name, settings)
    if device.ssh is None and device.trust is not None:
        raise WrongUse(f"{name}: is a colleague's board; its owner, whom SSH lets in, does that")
    with open_shell(ssh_target(device), ask=ask, host_key=device.host_key) as shell:
        yield device, shell


@contextmanager
def _named(name: str) -> Iterator[None]:
    """So that what a board says begins with its name."""
    try:
        yield
    except DeviceError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise type(error)(f"{name}: {error}") from error


def _device(name: str, settings: str | Path | None) -> DeviceConfig:
    chosen = read_devices(None if settings is None else Path(settings), [name])
    if [device.name for device in chosen] != [name]:
        raise WrongUse(f"{name} is a group, of {', '.join(device.name for device in chosen)}; name one of them")
    return chosen[0]


def _dialled(name: str, settings: str | Path | None) -> DeviceConfig:
    device = _device(name, settings)
    if device.address is None:
        raise WrongUse(f"{name}: its agent is started here for each run, and nobody else holds it")
    return device


def _installed(name: str, settings: str | Path | None) -> DeviceConfig:
    device = _device(name, settings)
    if device.board_id is None or device.trust is not None:
        why = f"no agent was installed on it from here; host deploy {name}"
        raise WrongUse(f"{name}: " + ("is a colleague's board, who alone can grant it" if device.trust else why))
    return device


def _authority_in(file: Path) -> tuple[bytes, CertificateFacts]:
    made = "your colleague's host devices identity -o makes it"
    try:
        pem = file.read_bytes()
        facts = certificate_facts(pem)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); {made}") from error
    except ValueError as error:
        raise ConfigError(f"{file}: is no certificate ({error}); {made}") from error
    if b"PRIVATE KEY" in pem or not facts.is_authority:
        raise ConfigError(f"{file}: must be the certificate of an authority and no key; {made}")
    return pem, facts


def _name_in(common_name: str) -> str:
    """ "edgepareto CA ann@laptop 1a2b3c4d" -> ann@laptop."""
    words = common_name.split()
    return words[2] if len(words) >= 4 else "-".join(words)
