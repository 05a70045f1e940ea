"""Where an agent is dialled, and how that follows from where a board is reached by SSH."""

from __future__ import annotations

import ipaddress
import logging
import re

from edgepareto.host.config.ssh_settings import ssh_settings_file, ssh_settings_lines

__all__ = [
    "LARGEST_PORT",
    "address_of_ssh",
    "address_problem",
    "is_host_port",
    "is_this_machine",
    "ssh_place",
    "ssh_problem",
]

AGENT_PORT = 50051
LARGEST_PORT = 65_535
HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]|[^:\s/]+):(\d{1,5})", re.ASCII)
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*\.?")
RESOLVES = re.compile(r"^\s*(?:hostname|port)\b", re.IGNORECASE | re.MULTILINE)
UNIX = "unix:/"

log = logging.getLogger(__name__)


def is_host_port(text: str) -> bool:
    return HOST_PORT.fullmatch(text) is not None


def address_problem(address: str) -> str | None:
    """What is wrong with "host:port" or "unix:/path"; None: nothing."""
    if address.startswith(UNIX):
        return None
    match = HOST_PORT.fullmatch(address)
    if match is not None and not 0 < int(match.group(2)) <= LARGEST_PORT:
        return f"has port {match.group(2)}, allowed are 1 to {LARGEST_PORT}"
    if match is None or not _is_host(match.group(1)):
        return "must read HOST:PORT or unix:/path"
    return None


def is_this_machine(address: str) -> bool:
    """Whether what is sent there never leaves this machine."""
    if address.startswith(UNIX):
        return True
    match = HOST_PORT.fullmatch(address)
    if match is None:
        return False
    host = match.group(1).strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ssh_problem(destination: str) -> str | None:
    """What is wrong with "user@host" or an alias; None: nothing."""
    user, at, host = destination.rpartition("@")
    if (at and not user) or re.search(r"\s|/", destination) or destination.startswith("-"):
        return "must read USER@HOST, or an alias of ~/.ssh/config"
    if _is_ip(host) or HOST_NAME.fullmatch(host):
        return None
    if host.count(":") == 1:
        return "the port of SSH stands apart: --port N, or port = N"
    return "must read USER@HOST, or an alias of ~/.ssh/config; an IPv6 address without brackets"


def address_of_ssh(destination: str) -> str:
    """The agent's address on the machine that ssh would reach; aliases as in ~/.ssh/config."""
    host, _ = ssh_place(destination)
    return f"[{host}]:{AGENT_PORT}" if ":" in host else f"{host}:{AGENT_PORT}"


def ssh_place(destination: str) -> tuple[str, int | None]:
    """Host and port behind "user@host" or an alias; port None: ~/.ssh/config sets none.

    A file that paramiko cannot read (Match exec, for one) leaves the name as it is: commands that need no board read
    the inventory as well, and must not fail by it.
    """
    host = destination.rpartition("@")[2]
    settings = ssh_settings_file()
    try:
        text = "\n".join(ssh_settings_lines(settings))
        if RESOLVES.search(text) is None:
            return host, None
        from paramiko import SSHConfig, SSHException  # a quarter of a second
    except OSError:
        return host, None
    try:
        found = SSHConfig.from_text(text).lookup(host)
        port = found.get("port")
        return str(found.get("hostname", host)), None if port is None else int(port)
    except (SSHException, ImportError, ValueError) as error:
        log.debug("%s says nothing of %s: %s", settings, host, error)
        return host, None


def _is_host(text: str) -> bool:
    is_bracketed = text.startswith("[")
    return _is_ip(text.strip("[]")) if is_bracketed else HOST_NAME.fullmatch(text) is not None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
