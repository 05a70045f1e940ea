"""The folder that says who this agent is and who may use its board, read again whenever it changes.

    agent.pem         the board's certificate
    agent.key         its private key, readable by its user and group alone
    owners/NAME.pem   one CA for each owner whose hosts may use the board

Connections speak mutual TLS by it. A rotation, a grant or a revocation needs no restart: each new connection is judged
by the folder as it stands then, and connections are renewed every few minutes (server.CONNECTION_AGE_MS), so that a
revoked owner is gone soon. While the folder is being written, the last whole one counts.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc
from edgepareto.agent.errors import ConfigError

__all__ = ["HOST_ROLE", "Caller", "CredentialFolder", "caller_of"]

CERTIFICATE = "agent.pem"
KEY = "agent.key"
OWNERS = "owners"
HOST_ROLE = "host:"  # what the common name of a host's certificate begins with; a board's begins with "board:"
LARGEST_FILE_BYTES = 64 << 10
MOST_OWNERS = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is at the other end. common_name "" and fingerprint "": a connection without TLS, from this machine."""

    common_name: str
    fingerprint: str

    @property
    def is_local(self) -> bool:
        return not self.fingerprint

    @property
    def is_host(self) -> bool:
        """Also that its name can stand in a log."""
        name = self.common_name
        return name.startswith(HOST_ROLE) and len(name) > len(HOST_ROLE) and name.isprintable()


def caller_of(context: grpc.ServicerContext) -> Caller:
    """The certificate was checked by TLS; here it is only read. A connection without TLS has none."""
    known = context.auth_context()
    if known.get("transport_security_type") != [b"ssl"]:
        return Caller(common_name="", fingerprint="")
    names, certificates = known.get("x509_common_name", []), known.get("x509_pem_cert", [])
    if len(names) != 1 or len(certificates) != 1:
        return Caller(common_name="", fingerprint="unknown")  # not local, no host
    der = ssl.PEM_cert_to_DER_cert(certificates[0].decode())
    return Caller(common_name=names[0].decode(errors="replace"), fingerprint=hashlib.sha256(der).hexdigest())


class CredentialFolder:
    """Raises ConfigError where the folder is not whole. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamp = self._read_stamp()
        self._complained_of: object = None
        self._configuration = self._load()

    def server_credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            self._configuration, self._changed_configuration, require_client_authentication=True
        )

    def _changed_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Called before each handshake. None: as before. Must not raise, which would refuse the connection."""
        with self._lock:
            try:
                stamp = self._read_stamp()
                if stamp == self._stamp:
                    return None
                configuration = self._load()
                if self._read_stamp() != stamp:
                    return None  # it was being written meanwhile: the next connection looks again
            except ConfigError as error:
                if self._complained_of != str(error):
                    log.warning("the credentials were changed, but the last whole ones are kept: %s", error)
                    self._complained_of = str(error)
                return None
            self._stamp = stamp
            self._complained_of = None
            log.info("credentials were read again; owners: %s", ", ".join(path.stem for path in self._owners()))
            return configuration

    def _owners(self) -> list[Path]:
        return sorted((self._folder / OWNERS).glob("*.pem"))

    def _read_stamp(self) -> tuple[tuple[str, int, int, int], ...]:
        """Changes whenever a file does."""
        try:
            paths = [self._folder / CERTIFICATE, self._folder / KEY, *self._owners()]
            found = [(path, path.stat()) for path in paths]
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from error
        return tuple((str(path), about.st_mtime_ns, about.st_size, about.st_ino) for path, about in found)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, owners = self._folder / CERTIFICATE, self._folder / KEY, self._owners()
        mode = stat.S_IMODE(key.stat().st_mode)
        if mode & 0o007:
            raise ConfigError(f"{key}: mode {mode:04o} lets everyone at the board's private key; chmod 640 {key}")
        if not owners:
            raise ConfigError(
                f"{self._folder / OWNERS}: holds no NAME.pem, so nobody could use this board; "
                "put the ca.pem of an owner there"
            )
        if len(owners) > MOST_OWNERS:
            raise ConfigError(f"{self._folder / OWNERS}: holds {len(owners)} owners, wanted at most {MOST_OWNERS}")
        pair = (_read(key), _read(certificate))
        _check_pair(certificate, key)
        roots = b"\n".join(_checked_authority(owner) for owner in owners)
        return grpc.ssl_server_certificate_configuration([pair], roots)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise ConfigError(f"{path}: is larger than the {LARGEST_FILE_BYTES >> 10} KiB that a PEM file may have")
    return content


def _check_pair(certificate: Path, key: Path) -> None:
    """gRPC takes anything and then refuses every connection without a word."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"{certificate} and {key}: are no certificate and its own private key ({_reason(error)})"
        ) from error


def _checked_authority(owner: Path) -> bytes:
    content = _read(owner)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{owner}: holds no certificate in PEM ({_reason(error)})") from error
    if (counts := context.cert_store_stats())["x509_ca"] != counts["x509"]:
        raise ConfigError(f"{owner}: is no CA's certificate; the owner's ca.pem is wanted, not host.pem")
    return content


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or type(error).__name__
