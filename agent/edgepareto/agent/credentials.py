"""The folder that says who this agent is and who may use its board, read again whenever it changes.

    agent.pem         the board's certificate
    agent.key         its private key, readable by its user and group alone
    owners/NAME.pem   one CA for each owner whose hosts may use the board

Connections speak mutual TLS by it. A rotation, a grant or a revocation needs no restart: each new connection is judged
by the folder as it stands then, and connections are renewed every few minutes (server.CONNECTION_AGE_MS), so that a
revoked owner is gone soon. While certificate and key are being written, the last whole pair counts. An owner's file
that is not whole admits nobody, so that no mistake in one file keeps an owner whose own file is gone.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import stat
import threading
from collections.abc import Sequence
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
        self._complaints: list[str] = []
        self._pair = self._load_pair()
        self._configuration = self._configured([_checked_authority(owner) for owner in self._checked_owners()])

    def server_credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            self._configuration, self._changed_configuration, require_client_authentication=True
        )

    def _changed_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Called before each handshake. None: as before. Must not raise, for then the last owners would still count.

        What was not whole is looked at again with the next connection; the log has each complaint once.
        """
        with self._lock:
            complaints: list[str] = []
            try:
                stamp = self._read_stamp()
                if stamp == self._stamp:
                    return None
                self._pair = self._load_pair()
            except ConfigError as error:
                complaints.append(f"the last whole certificate and key are kept: {error}")
            names, authorities = self._load_owners(complaints)
            if not complaints:
                self._stamp = stamp
                log.info("credentials were read again; owners: %s", ", ".join(names))
            for complaint in complaints:
                if complaint not in self._complaints:
                    log.warning("the credentials were changed: %s", complaint)
            self._complaints = complaints
            return self._configured(authorities)

    def _configured(self, authorities: Sequence[bytes]) -> grpc.ServerCertificateConfiguration:
        """Without an owner the board's own certificate stands for them: gRPC wants one, and it is no host's."""
        roots = b"\n".join(authorities) or self._pair[1]
        return grpc.ssl_server_certificate_configuration([self._pair], roots)

    def _owners(self) -> list[Path]:
        """Raises ConfigError."""
        try:
            return sorted(path for path in (self._folder / OWNERS).iterdir() if path.suffix == ".pem")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from error

    def _read_stamp(self) -> tuple[tuple[object, ...], ...]:
        """Changes whenever a file does, or its being there. Taken before the files are read, so that what is written
        meanwhile is read by the next look. Raises ConfigError."""
        return tuple(map(_stamp_of, (self._folder / CERTIFICATE, self._folder / KEY, *self._owners())))

    def _load_pair(self) -> tuple[bytes, bytes]:
        """Key and certificate. Raises ConfigError."""
        certificate, key = self._folder / CERTIFICATE, self._folder / KEY
        pair = (_read(key), _read(certificate))
        _check_mode(key)
        _check_pair(certificate, key)
        return pair

    def _load_owners(self, complaints: list[str]) -> tuple[list[str], list[bytes]]:
        """Names and certificates of those whose file is whole; of the others a complaint."""
        names, authorities = [], []
        try:
            owners = self._checked_owners()
        except ConfigError as error:
            complaints.append(f"nobody may use this board: {error}")
            return [], []
        for owner in owners:
            try:
                authorities.append(_checked_authority(owner))
                names.append(owner.stem)
            except ConfigError as error:  # noqa: PERF203  # at most 64
                complaints.append(f"an owner may not use this board: {error}")
        return names, authorities

    def _checked_owners(self) -> list[Path]:
        owners = self._owners()
        if not owners:
            raise ConfigError(
                f"{self._folder / OWNERS}: holds no NAME.pem, so nobody could use this board; "
                "put the ca.pem of an owner there"
            )
        if len(owners) > MOST_OWNERS:
            raise ConfigError(f"{self._folder / OWNERS}: holds {len(owners)} owners, wanted at most {MOST_OWNERS}")
        return owners


def _stamp_of(path: Path) -> tuple[object, ...]:
    try:
        about = path.stat()
    except OSError as error:
        return str(path), error.errno
    return str(path), about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino


def _check_mode(key: Path) -> None:
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"{key}: cannot be read: {error.strerror}") from error
    if mode & 0o007:
        raise ConfigError(f"{key}: mode {mode:04o} lets everyone at the board's private key; chmod 640 {key}")


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
