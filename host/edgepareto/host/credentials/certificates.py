"""The three certificates there are, and nothing else that a certificate could be.

A board without a clock must accept them: they are valid from 1970 on, and all but the host's own for ever. Roles are
written into the name and the extended key usage, so that a stolen board's key drives no other board.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

__all__ = [
    "HOST_VALIDITY",
    "CertificateFacts",
    "KeyPair",
    "certificate_facts",
    "fits",
    "is_issued_by",
    "make_authority",
    "make_board_pair",
    "make_host_pair",
    "new_host_certificate",
    "server_name",
    "short_fingerprint",
]

FIRST_DAY = datetime(1970, 1, 1, tzinfo=timezone.utc)
LAST_DAY = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
HOST_VALIDITY = timedelta(days=730)
AUTHORITY, HOST, BOARD = "edgepareto CA ", "host:", "board:"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate and its private key, both PEM; the key unencrypted."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return f"KeyPair({certificate_facts(self.certificate_pem).common_name!r})"  # never the key


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """fingerprint: lower-case hex sha256 of the DER. role: "host", "board" or "authority", None for a foreign one."""

    common_name: str
    role: str | None
    fingerprint: str
    not_before: datetime
    not_after: datetime
    is_authority: bool


def short_fingerprint(fingerprint: str) -> str:
    """As a person compares it: SHA256:1f0c3a5e77b2d4c6"""
    return f"SHA256:{fingerprint[:16]}"


def server_name(board_id: str) -> str:
    """The name in a board's certificate; it is no address, and never looked up."""
    return f"{board_id}.board.edgepareto"


def make_authority(owner: str) -> KeyPair:
    """The CA of one owner; the hash of its key in the name tells an old one from its successor."""
    from cryptography import x509

    key = _new_key()
    name = f"{AUTHORITY}{owner} {_key_hash(key.public_key())[:8]}"
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key(), LAST_DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return KeyPair(certificate_pem=_signed(builder, key), key_pem=_key_pem(key))


def make_host_pair(owner: str, authority: KeyPair, *, now: datetime) -> KeyPair:
    key_pem = _key_pem(_new_key())
    return KeyPair(certificate_pem=new_host_certificate(owner, key_pem, authority, now=now), key_pem=key_pem)


def new_host_certificate(owner: str, key_pem: bytes, authority: KeyPair, *, now: datetime) -> bytes:
    """For a key that exists, so that renewing changes a single file."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    return _leaf(
        f"{HOST}{owner}", _read_key(key_pem).public_key(), authority, now + HOST_VALIDITY,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )  # fmt: skip


def make_board_pair(board_id: str, authority: KeyPair) -> KeyPair:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = _new_key()
    names = x509.SubjectAlternativeName([x509.DNSName(server_name(board_id))])
    certificate_pem = _leaf(
        f"{BOARD}{board_id}", key.public_key(), authority, LAST_DAY, ExtendedKeyUsageOID.SERVER_AUTH, names
    )
    return KeyPair(certificate_pem=certificate_pem, key_pem=_key_pem(key))


def certificate_facts(certificate_pem: bytes) -> CertificateFacts:
    """Raises ValueError for what is not a single certificate: who compares its fingerprint must have seen all of it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    blocks = certificate_pem.count(b"-----BEGIN")
    if blocks > 1:
        raise ValueError(f"it holds {blocks} PEM blocks, allowed is one")
    if b"-----BEGIN CERTIFICATE-----" not in certificate_pem:
        raise ValueError("it has no line -----BEGIN CERTIFICATE-----")
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError as error:  # whose words are for programmers
        raise ValueError("its certificate is cut off or damaged") from error
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    # Of whoever made it, and shown on terminals.
    stated = str(names[0].value) if names else ""
    common_name = "".join(letter if letter.isprintable() else "?" for letter in stated)
    roles = {AUTHORITY: "authority", HOST: "host", BOARD: "board"}
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    return CertificateFacts(
        common_name=common_name,
        role=next((role for prefix, role in roles.items() if common_name.startswith(prefix)), None),
        fingerprint=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_authority=is_authority,
    )


def fits(certificate_pem: bytes, key_pem: bytes) -> bool:
    """Whether the key is the certificate's. Raises ValueError for what is neither."""
    from cryptography import x509

    return _key_hash(x509.load_pem_x509_certificate(certificate_pem).public_key()) == _key_hash(
        _read_key(key_pem).public_key()
    )


def is_issued_by(certificate_pem: bytes, authority_pem: bytes) -> bool:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    certificate = x509.load_pem_x509_certificate(certificate_pem)
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority_pem))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _leaf(
    common_name: str,
    public_key: EllipticCurvePublicKey,
    authority: KeyPair,
    not_after: datetime,
    usage: x509.ObjectIdentifier,
    names: x509.SubjectAlternativeName | None = None,
) -> bytes:
    from cryptography import x509

    signer = _read_key(authority.key_pem)
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem).subject
    builder = _builder(_name(common_name), issuer, public_key, not_after)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return _signed(builder, signer)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: EllipticCurvePublicKey, not_after: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=public_key,
        serial_number=x509.random_serial_number(),
        not_valid_before=FIRST_DAY,
        not_valid_after=not_after,
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

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


def _name(common_name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(key_pem: bytes) -> EllipticCurvePrivateKey:
    """Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(key_pem, password=None)
    except TypeError as error:  # it has a passphrase
        raise ValueError(str(error)) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ValueError("no key of an elliptic curve")
    return key


def _key_hash(public_key: object) -> str:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if not isinstance(public_key, EllipticCurvePublicKey):
        raise ValueError("no key of an elliptic curve")
    return hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
