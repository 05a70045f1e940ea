"""Whether a board lets us in, tried before gRPC dials, because gRPC calls every refusal "Socket closed".

One TLS handshake by Python's ssl tells what gRPC does not: nobody there, no TLS, another board, a board of another
authority; and a board that hangs up once it has seen our certificate. Nothing else is sent.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from edgepareto.host.credentials import ClientCredentials, short_fingerprint
from edgepareto.host.errors import Refused, Unreachable

__all__ = ["admitting"]

KNOCK_S = 5.0  # for connecting, and again for the handshake
AGAIN_S = 0.3  # an agent that ends just then hangs up as well, and a bad line garbles: a refusal is met twice
ALPN = ["h2"]
# Alerts about us; others tell of a bad line. gRPC sends none and hangs up, but something else may stand before it.
ABOUT_US = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")


def admitting(name: str, address: str, order: Sequence[ClientCredentials]) -> ClientCredentials:
    """The first of `order` (at least one) that the agent at host:port lets in.

    Raises Unreachable where nobody answers, else Refused with the reason that the first one met.
    """
    refusals: list[Refused] = []
    for credentials in order:
        refusal = _knock(name, address, credentials)
        if refusal is not None:
            time.sleep(AGAIN_S)
            refusal = _knock(name, address, credentials)
        if refusal is None:
            return credentials
        refusals.append(refusal)
    raise refusals[0]


def _knock(name: str, address: str, credentials: ClientCredentials) -> Refused | None:
    """None: we are let in. Raises Unreachable."""
    context = _context(name, credentials)
    try:
        secured = _connected(context, address)
    except (OSError, UnicodeError) as error:  # the latter: what ~/.ssh/config calls it is no name
        why = (isinstance(error, OSError) and error.strerror) or error
        raise Unreachable(
            f"{name}: no agent answers at {address} ({why}); see whether the board is on; host devices check {name}"
        ) from error
    with secured:
        try:
            secured.do_handshake()
            names = _names(secured)
            if credentials.server_name not in names:
                return _another_board(name, address, credentials, names)
            is_let_in = bool(secured.recv(1))  # an agent that lets us in speaks first
        except ssl.SSLError as error:
            return _failed(name, address, credentials, error)
        except OSError as error:
            what = error.strerror or str(error)
            why = "nothing answers" if isinstance(error, TimeoutError) else f"ends them ({what})"
            raise Unreachable(f"{name}: {address} takes connections, but {why}; host devices check {name}") from error
    return None if is_let_in else _not_let_in(name, address, credentials)


def _connected(context: ssl.SSLContext, address: str) -> ssl.SSLSocket:
    """To the first of the host's addresses that answers; before the handshake. Raises OSError, UnicodeError."""
    host, _, port = address.rpartition(":")
    *others, last = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    for family, *_, place in others:
        with suppress(OSError):
            return _connected_to(context, family, place)
    return _connected_to(context, last[0], last[-1])


def _connected_to(context: ssl.SSLContext, family: int, place: tuple[object, ...]) -> ssl.SSLSocket:
    with ExitStack() as unless_connected:
        plain = unless_connected.enter_context(socket.socket(family, socket.SOCK_STREAM))
        # Before it connects: ssl leaves a socket open that is reset between the two.
        secured = unless_connected.enter_context(context.wrap_socket(plain, do_handshake_on_connect=False))
        secured.settimeout(KNOCK_S)
        secured.connect(place)
        unless_connected.pop_all()
    return secured


def _failed(name: str, address: str, credentials: ClientCredentials, error: ssl.SSLError) -> Refused:
    """What a handshake that went wrong says. Raises Unreachable where it says nothing of us or the board."""
    reason = error.reason or str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(
            f"{name}: the certificate at {address} is not of the authority that {credentials.owner} trusts for this "
            f"board ({error.verify_message}): another machine has its address, or somebody else installed it again; "
            f"host devices check {name} looks; host deploy {name} installs it for you, where it "
            "is a colleague's ask for a new card"
        )
    if any(words in reason for words in ABOUT_US):
        return _not_let_in(name, address, credentials)
    if reason == "WRONG_VERSION_NUMBER":
        return Refused(
            f"{name}: the agent at {address} speaks no TLS, and nothing is sent in plain text: its agent.toml has no "
            f"[credentials]; host deploy {name} installs it with them"
        )
    why = "ends them at once" if isinstance(error, ssl.SSLEOFError) else f"they break ({reason})"
    raise Unreachable(
        f"{name}: {address} takes connections, but {why}; see whether edgepareto-agent runs there; "
        f"host devices check {name}"
    ) from error


def _not_let_in(name: str, address: str, credentials: ClientCredentials) -> Refused:
    us = f"{credentials.owner} ({short_fingerprint(credentials.fingerprint)})"
    return Refused(
        f"{name}: the board at {address} does not let {us} in. Likeliest first: access was never granted, or was "
        f"revoked; these are not the credentials it was installed with; it was installed again by somebody else; our "
        f"certificate is not valid by its clock; host devices check {name} asks it which, where SSH reaches it; its "
        "owner lets you in with "
        "host devices grant"
    )


def _another_board(name: str, address: str, credentials: ClientCredentials, seen: Sequence[str]) -> Refused:
    ids = [text.partition(".")[0] for text in (credentials.server_name, *seen)]
    return Refused(
        f"{name}: at {address} another board answers, {', '.join(ids[1:]) or 'without a name'} instead of {ids[0]}: "
        f"addresses changed, or it was installed anew; correct ssh or address of {name}, or run host deploy {name}"
    )


def _context(name: str, credentials: ClientCredentials) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # `_names` is compared instead, to say whose name it is
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=credentials.root_certificates.decode())
    try:  # from files: Python's ssl takes no key from memory
        context.load_cert_chain(credentials.certificate_file, credentials.key_file)
    except OSError as error:  # an SSLError where certificate and key are of two identities
        raise Unreachable(
            f"{name}: our credentials were replaced by another command just now; run this one again"
        ) from error
    context.set_alpn_protocols(ALPN)
    return context


def _names(secured: ssl.SSLSocket) -> list[str]:
    alternatives = (secured.getpeercert() or {}).get("subjectAltName", ())
    return [str(entry[1]) for entry in alternatives if isinstance(entry, tuple) and entry[0] == "DNS"]
