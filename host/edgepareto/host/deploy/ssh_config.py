"""Where a destination leads, as ~/.ssh/config says: host, port, user, keys and the way through other hosts."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepareto.host.config.ssh_settings import ssh_settings_file, ssh_settings_lines
from edgepareto.host.errors import DeployError

__all__ = ["Route", "find_route"]

SSH_PORT = 22
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One host and how it is reached. known_as: its name in known_hosts. named_keys: those the user named for it;
    other_keys: the usual files. jumps: destinations to go through, the first one first. uses_agent: ssh-agent's.
    """

    host: str
    port: int
    user: str
    known_as: str
    named_keys: tuple[Path, ...]
    other_keys: tuple[Path, ...]
    uses_agent: bool
    jumps: tuple[str, ...]
    proxy_command: str | None

    @property
    def shown(self) -> str:
        return f"{self.user}@{self.host}" + ("" if self.port == SSH_PORT else f" port {self.port}")


def find_route(destination: str, *, port: int | None = None, key: Path | None = None) -> Route:
    """destination: [user@]host[:port], [user@][ipv6]:port or an alias. What is given wins over the file.

    Raises DeployError for a ~/.ssh/config that cannot be read.
    """
    from paramiko import SSHConfig, SSHException

    user, host, own_port = _split(destination)
    file = ssh_settings_file()
    # The first value wins in this file, and what is given also stands in a ProxyCommand.
    given = {"Port": port or own_port, "User": user}
    first = [f"{word} {value}" for word, value in given.items() if value is not None]
    try:
        found = SSHConfig.from_text("\n".join([*first, *ssh_settings_lines(file)])).lookup(host)
    except (OSError, SSHException, ValueError, ImportError) as error:
        raise DeployError(f"{file}: cannot be read ({error}); correct it, ssh -G {host} shows the place") from error
    chosen = int(found.get("port", SSH_PORT))
    address = found["hostname"]
    known_as = found.get("hostkeyalias") or (address if chosen == SSH_PORT else f"[{address}]:{chosen}")
    named = [key.expanduser()] if key is not None else []
    named += [Path(name).expanduser() for name in found.get("identityfile", []) if name.lower() != "none"]
    only_named = found.get("identitiesonly", "no").lower() == "yes"
    jump = found.get("proxyjump", "none")
    command = found.get("proxycommand")
    return Route(
        host=address,
        port=chosen,
        user=found.get("user") or getpass.getuser(),
        known_as=known_as,
        named_keys=tuple(dict.fromkeys(named)),
        other_keys=() if named else tuple(_usual_keys(file.parent)),
        uses_agent=not only_named and found.get("identityagent", "").lower() != "none",
        jumps=() if jump.lower() == "none" else tuple(part.strip() for part in jump.split(",") if part.strip()),
        proxy_command=None if jump.lower() != "none" or command is None or command.lower() == "none" else command,
    )


def _split(destination: str) -> tuple[str | None, str, int | None]:
    user, at, place = destination.removeprefix("ssh://").rpartition("@")
    host, colon, port = place.rpartition(":")
    if colon and port.isdecimal() and (":" not in host or (host.startswith("[") and host.endswith("]"))):
        return user if at else None, host.strip("[]"), int(port)
    return user if at else None, place.strip("[]"), None


def _usual_keys(folder: Path) -> Iterator[Path]:
    for name in DEFAULT_KEYS:
        if (folder / name).is_file():
            yield folder / name
