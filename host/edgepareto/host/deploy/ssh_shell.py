"""Commands and files on a board, over one SSH connection.

A user's login shell may be fish or csh, so it only ever sees one plain line; the command itself goes by stdin to sh.
"""

from __future__ import annotations

import io
import secrets
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edgepareto.host.errors import DeployError

if TYPE_CHECKING:
    from edgepareto.host.deploy.ask import Ask
    from paramiko import Channel, SFTPClient, Transport

__all__ = ["CommandResult", "Shell"]

MOST_OUTPUT_BYTES = 4 << 20  # of each stream; more is read and dropped
CHUNK_BYTES = 32 << 10
STALL_S = 60.0  # without one byte of progress in an upload
PASSWORD_TRIES = 3
POLL_S = 0.05
NO_EXIT_CODE = -1  # of a command ended by a signal, and of a connection that broke
CLOSING_S = 0.5
ENDING_S = 120.0  # for a program to put back what it did; a slow card
# Reads by single bytes up to the mark, then the command's bytes; what follows stays for the command. No backslash, no
# line end and no exclamation mark: those mean something else in the quotes of fish and csh.
STARTER = (
    "sh -c '"
    "while IFS= read -r l; do case $l in {mark}) break;; esac; done; "
    'c=$(dd bs=1 count={size} 2>/dev/null); eval "$c"'
    "'"
)
SUDO = "env LC_ALL=C sudo"  # what it says is read
ENVIRONMENT = "export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; "
# The board's side ends when ours does: without a terminal no signal would tell it.
FOLLOWER = (
    "exec 3<&0; ( exec {command} ) </dev/null & p=$!; ( cat <&3 >/dev/null; kill $p ) >/dev/null 2>&1 & w=$!; "
    "exec 3<&-; wait $p; c=$?; kill $w 2>/dev/null; exit $c"
)
# Makes a folder for us alone, tells where, and takes it away when our side ends, in whatever way but a power failure:
# what one left is taken away a day later.
KEEPER = (
    "trap '' HUP; umask 077; t=edgepareto-XXXXXX; "
    "find /var/tmp -maxdepth 1 -name 'edgepareto-??????' -user $(id -u) -mmin +1440 -exec rm -rf {} + 2>/dev/null; "
    'd=$(mktemp -d "/var/tmp/$t" || mktemp -d "/tmp/$t") || exit 1; echo "$d"; cat >/dev/null; rm -rf "$d"'
)
LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    exit_code: int
    stdout: str
    stderr: str


class Shell:
    """Commands run by sh, in the C locale, with the administrator's folders in PATH. Made by `open_shell`.

    root=True: by sudo, whose password is asked for once, or as we are where we are root. Every method raises
    DeployError: a connection that breaks, a command that takes too long, sudo that refuses.
    """

    def __init__(self, transport: Transport, name: str, *, ask: Ask | None, user: str) -> None:
        self._transport = transport
        self._name = name
        self._ask = ask
        self._user = user
        self._mark = f"edgepareto-{secrets.token_hex(8)}"
        self._sudo: tuple[str, bytes] | None = None  # what stands before a command, what its stdin begins with

    def run(self, command: str, *, root: bool = False, stdin: bytes = b"", timeout_s: float = 60.0) -> CommandResult:
        """The exit code may be any; -1 where the command was ended by a signal."""
        before, first = self._as_root() if root else ("", b"")
        return self._run(before, first, command, stdin, timeout_s)

    def check(self, command: str, *, root: bool = False, stdin: bytes = b"", timeout_s: float = 60.0) -> str:
        """Its stdout. Raises DeployError with the command's last words unless it ends with 0."""
        result = self.run(command, root=root, stdin=stdin, timeout_s=timeout_s)
        if result.exit_code != 0:
            said = _last_line(result.stderr) or _last_line(result.stdout) or "it said nothing"
            raise DeployError(f"{self._name}: {_short(command)} ended with {result.exit_code}: {said}")
        return result.stdout

    def stream(self, command: str, *, root: bool = False, heed: Callable[[], None] = lambda: None) -> Iterator[str]:
        """The lines of one program (no pipe, no `;`), until it or the caller ends. Raises DeployError.

        heed: called several times a second; where it raises, the program on the board is told to end, and waited for.
        """
        before, first = self._as_root() if root else ("", b"")
        script = ENVIRONMENT + FOLLOWER.format(command=command)
        with self._opened(before, script) as channel:
            self._send(channel, first + self._start(script))
            pending, words = b"", b""
            while True:
                while channel.recv_stderr_ready():
                    words = (words + channel.recv_stderr(CHUNK_BYTES))[-CHUNK_BYTES:]
                if channel.recv_ready():
                    *lines, pending = (pending + channel.recv(CHUNK_BYTES)).split(b"\n")
                    pending = pending[-MOST_OUTPUT_BYTES:]
                    for line in lines:
                        yield _text(line)
                elif channel.exit_status_ready():
                    break
                else:
                    self._heed(channel, heed)
                    self._check_alive()
                    _wait(channel, is_sending=False)
            if pending:
                yield _text(pending)
            code = self._exit_code(channel)
            if code != 0:
                said = _last_line(_text(words)) or "it said nothing"
                raise DeployError(f"{self._name}: {_short(command)} ended with {code}: {said}")

    @contextmanager
    def folder(self) -> Iterator[str]:
        """A new folder of our user alone, gone at the end of the block, also where the connection ends before it."""
        script = ENVIRONMENT + KEEPER
        with self._opened("", script) as channel:
            self._send(channel, self._start(script))
            told = b""
            try:
                while not told.endswith(b"\n") and len(told) < LONGEST_PATH and (more := channel.recv(1)):
                    told += more
                said = "" if told else _last_line(_text(channel.recv_stderr(CHUNK_BYTES)))
            except OSError as error:
                raise self._broken(error) from error
            if not told.startswith(b"/"):
                self._check_alive()
                raise DeployError(f"{self._name}: no folder can be made in /var/tmp ({said or 'it said nothing'})")
            try:
                yield _text(told).strip()
            finally:
                with suppress(OSError, EOFError):
                    channel.shutdown_write()
                    channel.recv(1)  # its end, at the latest after STALL_S

    def upload(self, files: Sequence[tuple[Path | bytes, str]], on_progress: Callable[[int, int], None]) -> None:
        """Each (local file or its content, absolute remote path), readable by our user alone, its size checked.

        on_progress: bytes done, bytes in all. The remote folders exist. Raises DeployError.
        """
        sizes = [len(source) if isinstance(source, bytes) else source.stat().st_size for source, _ in files]
        total, done = sum(sizes), 0
        on_progress(0, total)

        def moved(count: int) -> None:
            nonlocal done
            done += count
            on_progress(done, total)

        sftp = self._sftp()
        try:
            for (source, remote), size in zip(files, sizes, strict=True):
                with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as opened:
                    if sftp is None:
                        self._send_by_cat(opened, remote, size, moved)
                    else:
                        self._send_by_sftp(sftp, opened, remote, size, moved)
        finally:
            if sftp is not None:
                sftp.close()

    def _run(self, before: str, first: bytes, command: str, stdin: bytes, timeout_s: float) -> CommandResult:
        deadline = time.monotonic() + timeout_s
        script = ENVIRONMENT + command
        out, err = bytearray(), bytearray()
        with self._opened(before, script) as channel:
            unsent = memoryview(first + self._start(script) + stdin)
            is_open = True
            while True:
                moved = False
                if unsent and channel.send_ready():
                    unsent = unsent[self._sent(channel, unsent[:CHUNK_BYTES]) :]
                    moved = True
                if not unsent and is_open:
                    channel.shutdown_write()
                    is_open = False
                if channel.recv_ready():
                    out += channel.recv(CHUNK_BYTES)[: MOST_OUTPUT_BYTES - len(out)]
                    moved = True
                if channel.recv_stderr_ready():
                    err = (err + channel.recv_stderr(CHUNK_BYTES))[-MOST_OUTPUT_BYTES:]
                    moved = True
                if moved:
                    continue
                if channel.exit_status_ready() and (channel.eof_received or channel.closed):
                    break
                self._check_alive()
                if time.monotonic() > deadline:
                    raise DeployError(f"{self._name}: {_short(command)} did not end within {timeout_s:.0f} s")
                _wait(channel, is_sending=bool(unsent))
            code = self._exit_code(channel)
        return CommandResult(exit_code=code, stdout=_text(bytes(out)), stderr=_text(bytes(err)))

    def _heed(self, channel: Channel, heed: Callable[[], None]) -> None:
        try:
            heed()
        except DeployError:
            with suppress(OSError):
                channel.shutdown_write()
            deadline = time.monotonic() + ENDING_S
            while not channel.exit_status_ready() and self._transport.is_active() and time.monotonic() < deadline:
                if channel.recv_ready():
                    channel.recv(CHUNK_BYTES)
                elif channel.recv_stderr_ready():
                    channel.recv_stderr(CHUNK_BYTES)
                else:
                    _wait(channel, is_sending=False)
            raise

    def _start(self, script: str) -> bytes:
        return f"{self._mark}\n{script}".encode()

    def _opened(self, before: str, script: str) -> Channel:
        """A channel on which sh waits for the script."""
        from paramiko import SSHException

        try:
            channel = self._transport.open_session()
            channel.settimeout(STALL_S)
            channel.exec_command(before + STARTER.format(mark=self._mark, size=len(script.encode())))
        except (SSHException, EOFError, OSError) as error:
            raise self._broken(error) from error
        return channel

    def _sent(self, channel: Channel, data: memoryview) -> int:
        try:
            return int(channel.send(data))
        except OSError:  # the command ended without reading all of it; its exit code says why
            return len(data)

    def _send(self, channel: Channel, data: bytes) -> None:
        try:
            channel.sendall(data)
        except OSError as error:
            raise self._broken(error) from error

    def _exit_code(self, channel: Channel) -> int:
        code = int(channel.recv_exit_status())
        if code == NO_EXIT_CODE:
            self._transport.join(CLOSING_S)  # it tells the channels first, and says a moment later that it is over
            self._check_alive()
        return code

    def _check_alive(self) -> None:
        if not self._transport.is_active():
            raise self._broken(self._transport.get_exception())

    def _broken(self, error: BaseException | None) -> DeployError:
        said = " ".join(str(error or "").split()) or "closed"
        return DeployError(f"{self._name}: the SSH connection broke ({said}); run it again")

    def _as_root(self) -> tuple[str, bytes]:
        if self._sudo is None:
            self._sudo = self._found_sudo()
        return self._sudo

    def _found_sudo(self) -> tuple[str, bytes]:
        if self._run("", b"", "id -u", b"", 60.0).stdout.strip() == "0":
            return ("", b"")
        result = self._run(f"{SUDO} -n ", b"", ":", b"", 60.0)
        if result.exit_code == 0:
            return (f"{SUDO} -n ", b"")
        said = _last_line(result.stderr)
        if result.exit_code == 127 or "not found" in said or "Unknown command" in said:
            raise DeployError(
                f"{self._name}: has no sudo; use ssh root@..., or install sudo and add {self._user} to it"
            )
        if self._ask is None:
            if "password" in said:
                raise DeployError(
                    f"{self._name}: sudo wants the password of {self._user}, which is asked for at a terminal only; "
                    f"run this at one; if {self._user} may not use sudo: an administrator there runs {self._grants}"
                )
            raise self._sudo_refused(said)
        # -k: always asked for, so that the first line is always the password's.
        before = f"{SUDO} -k -S -p '' "
        for _ in range(PASSWORD_TRIES):
            password = self._ask.secret(f"{self._name}: sudo password of {self._user}: ")
            if not password:
                break
            result = self._run(before, password.encode() + b"\n", ":", b"", 60.0)
            if result.exit_code == 0:
                return (before, password.encode() + b"\n")
            said = _last_line(result.stderr)
            if not any(word in result.stderr.lower() for word in ("try again", "incorrect", "no password")):
                raise self._sudo_refused(said)
        raise DeployError(
            f"{self._name}: sudo did not accept the password of {self._user}; nothing was changed; run it again, and "
            f"if {self._user} may not use sudo: an administrator there runs {self._grants}"
        )

    @property
    def _grants(self) -> str:
        return f"sudo usermod -aG sudo {self._user}"

    def _sudo_refused(self, said: str) -> DeployError:
        is_unknown = "sudoers" in said or "may not run" in said or "not allowed" in said
        hint = f"; an administrator of the board runs {self._grants}" if is_unknown else ""
        return DeployError(f"{self._name}: sudo refuses {self._user} ({said or 'it said nothing'}){hint}")

    def _sftp(self) -> SFTPClient | None:
        """None: this board has no SFTP (a small server such as dropbear)."""
        import paramiko

        try:
            channel = self._transport.open_session()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._broken(error) from error
        try:
            channel.settimeout(STALL_S)
            channel.invoke_subsystem("sftp")
            return paramiko.SFTPClient(channel)
        except (paramiko.SSHException, EOFError, OSError):
            channel.close()
            return None

    def _send_by_sftp(
        self, sftp: SFTPClient, source: BinaryIO, remote: str, size: int, moved: Callable[[int], None]
    ) -> None:
        from paramiko import SSHException

        try:
            with sftp.open(remote, "wb") as target:
                target.chmod(0o600)
                target.set_pipelined(True)
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
                    moved(len(chunk))
            arrived = sftp.stat(remote).st_size
        except (SSHException, EOFError, OSError) as error:
            raise self._not_uploaded(remote, error) from error
        self._check_size(remote, size, arrived)

    def _send_by_cat(self, source: BinaryIO, remote: str, size: int, moved: Callable[[int], None]) -> None:
        from shlex import quote

        script = f"{ENVIRONMENT}umask 077; cat > {quote(remote)} && wc -c < {quote(remote)}"
        with self._opened("", script) as channel:
            try:
                channel.sendall(self._start(script))
                while chunk := source.read(CHUNK_BYTES):
                    channel.sendall(chunk)
                    moved(len(chunk))
                channel.shutdown_write()
                said = channel.makefile_stderr("rb").read(CHUNK_BYTES)
                arrived = channel.makefile("rb").read(CHUNK_BYTES)
            except (EOFError, OSError) as error:
                said = channel.recv_stderr(CHUNK_BYTES) if channel.recv_stderr_ready() else b""
                raise self._not_uploaded(remote, OSError(_last_line(_text(said)) or str(error))) from error
        if not arrived.strip().isdigit():
            raise self._not_uploaded(remote, OSError(_last_line(_text(said)) or "it said nothing"))
        self._check_size(remote, size, int(arrived))

    def _not_uploaded(self, remote: str, error: BaseException) -> DeployError:
        from paramiko import SSHException

        # What the board says of its disk is an OSError; of these the connection itself is the cause.
        if isinstance(error, (SSHException, EOFError)) or not self._transport.is_active():
            return self._broken(error)
        said = " ".join(str(error).split()) or "the connection broke"
        return DeployError(f"{self._name}: {remote} cannot be written ({said}); room and rights there?")

    def _check_size(self, remote: str, size: int, arrived: int) -> None:
        if arrived != size:
            raise DeployError(f"{self._name}: {remote} has {arrived} of {size} bytes; is its disk full? Run it again")


def _wait(channel: Channel, *, is_sending: bool) -> None:
    """Until something came, or for POLL_S; for room to send there is nothing to wait on."""
    if is_sending or channel.eof_received:
        channel.status_event.wait(POLL_S)
    else:
        select.select([channel], [], [], POLL_S)


def _text(data: bytes) -> str:
    """Lines that can be shown: what a board says must not steer the terminal."""
    said = data.decode("utf-8", errors="replace")
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in said)


def _last_line(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _short(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
