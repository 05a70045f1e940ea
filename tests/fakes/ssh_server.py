"""An SSH server that runs what it is told as this user on this machine: the board of a test. Also a real sshd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

SSHD = Path("/usr/sbin/sshd")
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")


def make_key(folder: Path, name: str, passphrase: str = "", kind: str = "ed25519") -> Path:
    file = folder / name
    if kind == "ed25519":
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.generate()
        locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            locked = serialization.BestAvailableEncryption(passphrase.encode())
        file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, locked))
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        file.with_name(f"{name}.pub").write_bytes(public + b"\n")
    else:
        paramiko.ECDSAKey.generate().write_private_key_file(str(file))
    file.chmod(0o600)
    return file


@dataclass(kw_only=True)
class SshServer(paramiko.ServerInterface):
    """shell: as a login shell, which gets what a client sends with -c. path: folders before PATH. environment: more of
    what commands get. commands_until_cut: the last of so many runs to its end, then the connection is lost before
    anybody is told; -1: none. is_off: hangs up on whoever connects.
    """

    host_key: paramiko.PKey
    keys: Sequence[bytes] = ()
    password: str | None = None
    shell: str = "/bin/sh"
    path: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    commands_until_cut: int = -1
    is_off: bool = False
    has_sftp: bool = True
    port: int = 0
    ran: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    forwarded: dict[int, tuple[str, int]] = field(default_factory=dict)  # by channel
    transports: list[paramiko.Transport] = field(default_factory=list)

    def get_allowed_auths(self, username: str) -> str:
        return ",".join([*(["publickey"] if self.keys else []), *(["password"] if self.password else [])])

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.asked.append("publickey")
        return paramiko.AUTH_SUCCESSFUL if key.asbytes() in self.keys else paramiko.AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        self.asked.append("password")
        return paramiko.AUTH_SUCCESSFUL if password == self.password else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        if name != "sftp" or not self.has_sftp or not SFTP_SERVER.is_file():
            return False
        threading.Thread(target=self._run, args=(channel, [str(SFTP_SERVER)]), daemon=True).start()
        return True

    def check_channel_direct_tcpip_request(self, chanid: int, origin: object, destination: tuple[str, int]) -> int:
        self.forwarded[chanid] = destination
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.ran.append(command.decode())
        arguments = [self.shell, "-c", command.decode()]
        threading.Thread(target=self._run, args=(channel, arguments), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, arguments: list[str]) -> None:
        environment = {**os.environ, **self.environment}
        if self.path:
            environment["PATH"] = f"{self.path}:{os.environ['PATH']}"
        pipe = subprocess.PIPE
        process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None

        def feed() -> None:
            with suppress(OSError):
                while data := channel.recv(32768):
                    process.stdin.write(data)
                    process.stdin.flush()
            with suppress(OSError):
                process.stdin.close()

        def drain(fd: int, send: object) -> None:
            with suppress(OSError):
                while data := os.read(fd, 32768):
                    send(data)  # type: ignore[operator]

        threads = [
            threading.Thread(target=drain, args=(process.stdout.fileno(), channel.sendall), daemon=True),
            threading.Thread(target=drain, args=(process.stderr.fileno(), channel.sendall_stderr), daemon=True),
        ]
        threading.Thread(target=feed, daemon=True).start()
        for thread in threads:
            thread.start()
        code = process.wait()
        for thread in threads:
            thread.join()
        process.stdout.close()
        process.stderr.close()
        self.commands_until_cut -= 1
        if self.commands_until_cut == 0:
            channel.get_transport().close()
            return
        with suppress(OSError, EOFError, paramiko.SSHException):
            channel.send_exit_status(code if code >= 0 else 255)
            channel.shutdown_write()
            channel.close()

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.is_off:
                client.close()
                continue
            threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()

    def _serve_one(self, client: socket.socket) -> None:
        transport = paramiko.Transport(client)
        transport.add_server_key(self.host_key)
        self.transports.append(transport)
        with suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(server=self)
            while transport.is_active():
                channel = transport.accept(0.2)
                if channel is not None and channel.get_id() in self.forwarded:
                    _forward(channel, self.forwarded[channel.get_id()])


def _forward(channel: paramiko.Channel, place: tuple[str, int]) -> None:
    onward = socket.create_connection(place)

    def copy(receive: object, send: object) -> None:
        # The transport below a channel may end at any line here.
        with suppress(OSError, EOFError, paramiko.SSHException):
            while data := receive(32768):  # type: ignore[operator]
                send(data)  # type: ignore[operator]
        onward.close()
        with suppress(OSError, EOFError, paramiko.SSHException):
            channel.close()

    threading.Thread(target=copy, args=(channel.recv, onward.sendall), daemon=True).start()
    threading.Thread(target=copy, args=(onward.recv, channel.sendall), daemon=True).start()


@contextmanager
def running(server: SshServer) -> Iterator[SshServer]:
    """On a free port of loopback."""
    with socket.create_server(("127.0.0.1", server.port)) as listener:
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
    for transport in server.transports:
        transport.close()
    thread.join()


@contextmanager
def running_sshd(folder: Path, authorized: Path, host_key: Path) -> Iterator[int]:
    """OpenSSH itself; its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {host_key}",
        f"AuthorizedKeysFile {authorized}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PidFile none",
        f"Subsystem sftp {SFTP_SERVER}",
    ]
    config = folder / "sshd_config"
    config.write_text("\n".join(lines) + "\n")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "sshd.log").open("w") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=log)
    try:
        until = time.monotonic() + 10
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None, (folder / "sshd.log").read_text()
            assert time.monotonic() < until, (folder / "sshd.log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def has_sshd() -> bool:
    return SSHD.is_file() and shutil.which("sh") is not None
