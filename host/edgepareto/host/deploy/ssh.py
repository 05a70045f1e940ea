"""To a board by SSH: `open_shell` finds the way, checks the host key, logs in; the Shell runs commands."""

from __future__ import annotations

import errno
import logging
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.config import DeviceConfig
from edgepareto.host.deploy.ask import Ask
from edgepareto.host.deploy.host_keys import check_host_key, known_keys
from edgepareto.host.deploy.ssh_config import Route, find_route
from edgepareto.host.deploy.ssh_login import log_in
from edgepareto.host.deploy.ssh_shell import CommandResult, Shell
from edgepareto.host.errors import DeployError

if TYPE_CHECKING:
    from paramiko import Channel, Transport

__all__ = ["CommandResult", "Shell", "SshTarget", "open_shell", "ssh_target"]

CONNECT_S = 15.0  # for TCP, for the key exchange, and for each answer while logging in
KEEPALIVE_S = 10
GONE_S = 30.0  # without an answer, also to a keepalive
MOST_JUMPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """name: the device's, for messages. destination: "user@host" or an alias of ~/.ssh/config, whose port and key
    the given ones win over.
    """

    name: str
    destination: str
    port: int | None = None
    key: Path | None = None


def ssh_target(device: DeviceConfig) -> SshTarget:
    """Raises DeployError for a device without ssh."""
    if device.ssh is None:
        raise DeployError(
            f"{device.name}: how SSH reaches it is not known; host devices add {device.name} USER@HOST --replace"
        )
    return SshTarget(name=device.name, destination=device.ssh, port=device.ssh_port, key=device.ssh_key)


@contextmanager
def open_shell(target: SshTarget, *, ask: Ask | None, host_key: str | None = None) -> Iterator[Shell]:
    """Connected and logged in inside the block. Every call dials anew and checks the host key again.

    host_key: "SHA256:...", which the board's key must have. Raises DeployError: what was tried and what to do next.
    """
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else its tracebacks end on stderr
    route = find_route(target.destination, port=target.port, key=target.key)
    with ExitStack() as stack:
        transport = _connected(route, target.name, ask, host_key, stack, depth=0)
        yield Shell(transport, target.name, ask=ask, user=route.user)


def _connected(
    route: Route, name: str, ask: Ask | None, host_key: str | None, stack: ExitStack, *, depth: int
) -> Transport:
    import paramiko

    plug = _dial(route, name, ask, stack, depth)
    stack.callback(plug.close)
    try:
        transport = paramiko.Transport(plug)
    except (OSError, paramiko.SSHException) as error:
        raise _no_ssh(name, route, error) from error
    stack.callback(transport.close)
    transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = CONNECT_S
    known = known_keys(route.known_as)
    _prefer(transport, [key.kind for key in known if not key.is_revoked])
    done = threading.Event()
    transport.start_client(event=done)
    done.wait(CONNECT_S)
    if not done.is_set() or not transport.is_active():
        raise _no_ssh(name, route, transport.get_exception())
    key = transport.get_remote_server_key()
    check_host_key(name, route.known_as, key.get_name(), key.asbytes(), known, ask=ask, wanted=host_key)
    transport.set_keepalive(KEEPALIVE_S)
    log_in(transport, route, name, ask)
    return transport


def _prefer(transport: Transport, kinds: list[str]) -> None:
    """A host has several keys; ask for one of a kind that we know."""
    options = transport.get_security_options()
    ours = {"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in kinds else set()
    first = [kind for kind in options.key_types if kind in kinds or kind in ours]
    options.key_types = [*first, *(kind for kind in options.key_types if kind not in first)]


def _dial(route: Route, name: str, ask: Ask | None, stack: ExitStack, depth: int) -> socket.socket | Channel:
    if route.jumps:
        return _dial_through(route, name, ask, stack, depth)
    if route.proxy_command is not None:
        return _dial_by_command(route.proxy_command, stack)
    try:
        plug = socket.create_connection((route.host, route.port), timeout=CONNECT_S)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: else a board that is gone is noticed after 15 minutes
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(GONE_S * 1000))
        return plug
    except OSError as error:
        raise DeployError(f"{name}: {_unreachable(route, error)}") from error


def _dial_through(route: Route, name: str, ask: Ask | None, stack: ExitStack, depth: int) -> Channel:
    """Each hop is reached through the hop before it; the first one as its own entry of ~/.ssh/config says."""
    from paramiko import SSHException

    if depth >= MOST_JUMPS:
        raise DeployError(f"{name}: more than {MOST_JUMPS} hosts to jump through; ProxyJump goes in a circle?")
    *before, last = route.jumps
    hop = find_route(last)
    if before:
        hop = replace(hop, jumps=tuple(before), proxy_command=None)
    through = _connected(hop, f"{name} (by way of {last})", ask, None, stack, depth=depth + 1)
    try:
        return through.open_channel("direct-tcpip", (route.host, route.port), ("127.0.0.1", 0), timeout=CONNECT_S)
    except (SSHException, EOFError) as error:
        raise DeployError(
            f"{name}: {last} cannot reach {route.host} port {route.port} ({' '.join(str(error).split())}); "
            "is the board on, and the address right?"
        ) from error


def _dial_by_command(command: str, stack: ExitStack) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        # By a shell, as ssh does: the command is the user's own, of ~/.ssh/config.
        process = subprocess.Popen(
            command, shell=True, stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True
        )

    def end() -> None:
        process.terminate()
        try:
            process.wait(CONNECT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return ours


def _unreachable(route: Route, error: OSError) -> str:
    place = f"{route.host} port {route.port}"
    if isinstance(error, socket.gaierror):
        return (
            f"no host of the name {route.host} is known; correct it, or give the address (host devices add --replace)"
        )
    if isinstance(error, ConnectionRefusedError):
        return (
            f"{place} refuses SSH; is it on and booted? Then on the board: sudo systemctl enable --now ssh, or name "
            "its --port"
        )
    if isinstance(error, TimeoutError) or error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT):
        return f"no answer from {place} within {CONNECT_S:.0f} s; is the board on and in this network?"
    return f"{place} cannot be reached ({error.strerror or error}); is the board on and in this network?"


def _no_ssh(name: str, route: Route, error: Exception | None) -> DeployError:
    said = " ".join(str(error or "").split()) or f"no answer within {CONNECT_S:.0f} s"
    return DeployError(
        f"{name}: what answers at {route.host} port {route.port} ends the SSH talk ({said}); right port?"
    )
