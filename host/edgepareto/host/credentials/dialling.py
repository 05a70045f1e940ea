"""What a board is dialled with: whom we trust to be it, and what we show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgepareto.host.credentials.certificates import certificate_facts, server_name
from edgepareto.host.credentials.identity import Identity, credentials_folder, identity_lock, key_of, made_identity
from edgepareto.host.credentials.rotation import rotation_in
from edgepareto.host.errors import ConfigError

__all__ = ["ClientCredentials", "client_credentials", "dialling_order", "read_authority"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """The first three are those of grpc.ssl_channel_credentials; server_name is the name in the board's certificate.

    owner, fingerprint: of the authority behind certificate_chain, for messages. certificate_file, key_file: the same
    certificate and key, for a library that reads files alone.
    """

    root_certificates: bytes
    private_key: bytes = field(repr=False)
    certificate_chain: bytes
    server_name: str
    owner: str
    fingerprint: str
    certificate_file: Path
    key_file: Path


def client_credentials(identity: Identity, board_id: str, trust: Path | None) -> ClientCredentials:
    """trust: the authority of the board's certificate where it is not our own. Raises ConfigError, also for an identity
    that another command has replaced meanwhile.
    """
    return ClientCredentials(
        root_certificates=identity.ca_pem if trust is None else read_authority(trust),
        private_key=key_of(identity, "host.key", identity.certificate_pem),
        certificate_chain=identity.certificate_pem,
        server_name=server_name(board_id),
        owner=identity.owner,
        fingerprint=identity.fingerprint,
        certificate_file=identity.folder / "host.pem",
        key_file=identity.folder / "host.key",
    )


def dialling_order(board_id: str, trust: Path | None, folder: Path | None = None) -> tuple[ClientCredentials, ...]:
    """What to try, likeliest first: one, or while a rotation is open two. Raises ConfigError.

    Each is whole in itself: an old authority's board is believed only where we dial as the old one ourselves.
    """
    folder = folder or credentials_folder()
    with identity_lock(folder):
        current = made_identity(folder)
        rotation = rotation_in(folder)
        if rotation is None:
            identities = [current]
        elif board_id in rotation.moved:
            identities = [rotation.next, rotation.current]
        else:
            identities = [rotation.current, rotation.next]
        return tuple(client_credentials(identity, board_id, trust) for identity in identities)


def read_authority(file: Path) -> bytes:
    """The PEM of one authority's certificate. Raises ConfigError for a file that holds anything else."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read ({error.strerror}); it is the authority of a board: host devices add NAME "
            "--card FILE --replace writes it again"
        ) from error
    if b"PRIVATE KEY" in content:
        raise ConfigError(f"{file}: holds a private key, which is nobody else's to have; only ca.pem is for others")
    try:
        facts = certificate_facts(content)
    except ValueError as error:
        raise ConfigError(f"{file}: holds no certificate ({error}); it must be an authority's, PEM") from error
    if not facts.is_authority:
        raise ConfigError(f"{file}: is the certificate of {facts.common_name}, not of an authority; ca.pem is wanted")
    return content
