"""Certificates as the host makes them and as it never would, made here with `cryptography` alone.

So the agent is tested without the host's own code; that both fit together is another test's.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["BOARD_NAME", "Authority", "Certificate", "write_credentials"]

BOARD_ID = "b0a4d"
BOARD_NAME = f"{BOARD_ID}.board.edgepareto"
ALWAYS = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
FOREVER = dt.datetime(9999, 12, 31, tzinfo=dt.timezone.utc)
NOW = dt.datetime.now(dt.timezone.utc)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """In PEM. fingerprint: lower-case hex sha256 of its DER."""

    certificate: bytes
    key: bytes
    fingerprint: str


class Authority:
    """One owner's CA; its private key never leaves this object."""

    def __init__(self, name: str = "ann", *, since: dt.datetime = ALWAYS, until: dt.datetime = FOREVER) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edgepareto CA {name}")])
        builder = self._builder(self._name, self._key.public_key(), since, until)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.add_extension(_usage(signs_certificates=True), critical=True).sign(
            self._key, hashes.SHA256()
        )

    @property
    def certificate(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def host(self, owner: str = "ann@desk", **changed: object) -> Certificate:
        return self.issue(f"host:{owner}", usage=CLIENT, **changed)  # type: ignore[arg-type]

    def board(self, name: str = BOARD_NAME, **changed: object) -> Certificate:
        return self.issue(f"board:{name.partition('.')[0]}", usage=SERVER, dns=name, **changed)  # type: ignore[arg-type]

    def issue(
        self,
        common_name: str,
        *,
        usage: x509.ObjectIdentifier | None,
        dns: str | None = None,
        since: dt.datetime = ALWAYS,
        until: dt.datetime = FOREVER,
    ) -> Certificate:
        """usage None: without any extended key usage, as a careless CA makes them."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = self._builder(subject, key.public_key(), since, until)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if dns is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        return Certificate(
            certificate=made.public_bytes(serialization.Encoding.PEM),
            key=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            fingerprint=made.fingerprint(hashes.SHA256()).hex(),
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, since: dt.datetime, until: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


def write_credentials(folder: Path, board: Certificate, owners: dict[str, Authority]) -> Path:
    """The folder as it stands on a board: agent.pem, agent.key, owners/NAME.pem."""
    (folder / "owners").mkdir(parents=True, exist_ok=True)
    (folder / "agent.pem").write_bytes(board.certificate)
    key = folder / "agent.key"
    key.touch(mode=0o640)
    key.write_bytes(board.key)
    for name, authority in owners.items():
        (folder / "owners" / f"{name}.pem").write_bytes(authority.certificate)
    return folder


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
