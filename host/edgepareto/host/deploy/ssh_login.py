"""Who we are to an SSH server: the named keys, ssh-agent's, the usual keys, then what a person knows by heart."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from edgepareto.host.deploy.ssh_config import Route
from edgepareto.host.errors import DeployError

if TYPE_CHECKING:
    from edgepareto.host.deploy.ask import Ask
    from paramiko import PKey, Transport

__all__ = ["log_in"]

PASSWORD_TRIES = 3


def log_in(transport: Transport, route: Route, name: str, ask: Ask | None) -> None:
    """Raises DeployError with all that was tried. Passphrases and passwords are asked for only when needed."""
    from paramiko import SSHException

    tried: list[str] = []
    try:
        if _with_keys(transport, route, name, ask, tried):
            return
        if ask is not None and _with_password(transport, route, ask, tried):
            return
    except (SSHException, EOFError, OSError) as error:
        ending = f"; it ended the connection ({' '.join(str(error).split())})"
        raise DeployError(_message(route, name, ask, tried, ending)) from error
    raise DeployError(_message(route, name, ask, tried, ""))


def _with_keys(transport: Transport, route: Route, name: str, ask: Ask | None, tried: list[str]) -> bool:
    """Whether it is done; a server that wants a password as well goes on with `_with_password`."""
    from paramiko import AuthenticationException, BadAuthenticationType

    with closing(_keys(route, name, ask, tried)) as keys:
        for label, key in keys:
            tried.append(label)
            try:
                return not transport.auth_publickey(route.user, key)
            except BadAuthenticationType:
                return False
            except AuthenticationException:
                if not transport.is_active():
                    raise
    return False


def _keys(route: Route, name: str, ask: Ask | None, tried: list[str]) -> Generator[tuple[str, PKey], None, None]:
    """Locked files last, so that nobody is asked for a passphrase without need."""
    locked: list[Path] = []
    for file in route.named_keys:
        yield from _from_file(file, locked, tried, is_named=True)
    if route.uses_agent:
        from paramiko import Agent, SSHException

        agent = None
        try:
            agent = Agent()
            for key in agent.get_keys():
                yield f"ssh-agent's {key.comment or key.get_name()}", key
        except (OSError, SSHException):
            tried.append("ssh-agent (does not answer)")
        finally:
            if agent is not None:
                agent.close()
    for file in route.other_keys:
        yield from _from_file(file, locked, tried, is_named=False)
    for file in locked:
        if ask is None:
            tried.append(f"{file} (locked by a passphrase: ssh-add {file})")
            continue
        key = _unlocked(file, name, ask)
        if key is None:
            tried.append(f"{file} (wrong passphrase)")
        else:
            yield str(file), key


def _from_file(file: Path, locked: list[Path], tried: list[str], *, is_named: bool) -> Iterator[tuple[str, PKey]]:
    from paramiko import PKey, SSHException
    from paramiko.pkey import UnknownKeyType

    try:
        yield str(file), PKey.from_path(file)
    except FileNotFoundError:
        if is_named:
            tried.append(f"{file} (not there)")
    except TypeError:  # what cryptography raises for a key with a passphrase
        locked.append(file)
    except (OSError, ValueError, SSHException, UnknownKeyType) as error:
        reason = getattr(error, "strerror", None) or "no private key that can be read"
        tried.append(f"{file} ({reason})")


def _unlocked(file: Path, name: str, ask: Ask) -> PKey | None:
    from paramiko import PKey, SSHException

    for _ in range(PASSWORD_TRIES):
        passphrase = ask.secret(f"{name}: passphrase of {file}: ")
        if not passphrase:
            return None
        try:
            return PKey.from_path(file, passphrase.encode())
        except (ValueError, SSHException):
            continue
    return None


def _with_password(transport: Transport, route: Route, ask: Ask, tried: list[str]) -> bool:
    from paramiko import AuthenticationException, BadAuthenticationType

    for _ in range(PASSWORD_TRIES):
        if not transport.is_active():
            return False
        password = ask.secret(f"password of {route.shown}: ")
        if not password:
            return False
        if "a password" not in tried:
            tried.append("a password")
        try:
            # Falls back to keyboard-interactive, which is what many servers call a password.
            transport.auth_password(route.user, password)
        except BadAuthenticationType:
            tried[-1] = "a password (it takes none)"
            return False
        except AuthenticationException:
            continue
        return bool(transport.is_authenticated())
    return False


def _message(route: Route, name: str, ask: Ask | None, tried: list[str], ending: str) -> str:
    what = ", ".join(tried) if tried else "no key: none in ~/.ssh, none in ssh-agent"
    by_hand = "" if ask is not None else "; a password is asked for at a terminal only"
    return (
        f"{name}: {route.shown} does not let us in (tried {what}){ending}{by_hand}; "
        f"try ssh-copy-id {route.user}@{route.host}, or name the user and --key"
    )
