"""The stand-in board of qemu/: built once per version of its scripts, kept, and started fresh in seconds."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EmulatedBoard", "NoEmulatedBoard", "built_board", "running_board"]

SCRIPTS = Path(__file__).parent / "qemu"
DEFAULT_CACHE = "~/.cache/edgepareto/board"
RUN_NEEDS = ("qemu-system-aarch64", "qemu-img", "fdtput", "ssh")
BUILD_TIMEOUT_S = 1800
TOOLS_MISSING = 3  # build-board's exit code
COMMAND_TIMEOUT_S = 120
ANSWER_TIMEOUT_S = 30
BOOT_TIMEOUT_S = 300  # as boot-board's own
RESTORE_TIMEOUT_S = 120
SAVES = 3
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
NOT_LISTED = ("/proc", "/sys", "/dev", "/run", "/var/log", "/usr/*/__pycache__")
# what a system at rest writes: its random seed; the tools' copies of the user database before the last change
MOVING = (
    "/var/lib/systemd/",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/group-",
    "/etc/gshadow-",
    "/tmp/systemd-private",
    "/var/tmp/systemd-private",
    "/home/pi/.sudo_as_admin_successful",
)


class NoEmulatedBoard(Exception):
    """This machine cannot have one; the message says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedBoard:
    """A running board. ssh_port and agent_port, of 127.0.0.1, lead to its ports 22 and agent_port."""

    built: Path
    run: Path
    ssh_port: int
    agent_port: int

    @property
    def key(self) -> Path:
        return self.built / "key"

    @property
    def host_key(self) -> str:
        """Its fingerprint as ssh shows it, SHA256:..."""
        known = self.built / "known_hosts"
        listed = subprocess.run(["ssh-keygen", "-lf", str(known)], capture_output=True, text=True, check=True)
        return listed.stdout.split()[1]

    def ssh(
        self, command: str, *, user: str = "root", stdin: str = "", timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        options = {
            "UserKnownHostsFile": self.built / "known_hosts",
            "HostKeyAlias": "board",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": 10,
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return subprocess.run(
            ["ssh", "-i", str(self.key), "-p", str(self.ssh_port), *words, f"{user}@127.0.0.1", command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def root(self, command: str, *, stdin: str = "") -> str:
        """What the command printed; fails the test where it failed."""
        ran = self.ssh(command, stdin=stdin)
        assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    def save(self, name: str, prepare: Callable[[], None] = lambda: None) -> None:
        """Keep the running board, memory and disk, under that name, as it is once `prepare` has run.

        Once in a long while the emulator keeps a board that never answers again, however often it is loaded. So it is
        loaded at once; one that does not answer boots again and is kept then. Raises AssertionError after three.
        """
        for _ in range(SAVES):
            prepare()
            self._monitor(f"savevm {name}")
            self._monitor(f"loadvm {name}")
            with suppress(AssertionError):
                self.wait_for_ssh(RESTORE_TIMEOUT_S)
                return
            self._monitor("system_reset")
            self.wait_until_booted()
        raise AssertionError(f"{name}: kept {SAVES} times, and no ssh after any; see {self.run / 'console.log'}")

    def go_back_to(self, name: str) -> None:
        """As it was when it was saved, at the same ports; its clock is right."""
        self._monitor(f"loadvm {name}")
        self.wait_for_ssh()
        self.root(f"date -s @{time.time():.0f}")

    def cut_power(self) -> None:
        """For a moment; returns as soon as the next boot answers over ssh, most services to come."""
        before = self.boot_id()
        self._monitor("system_reset")
        self._wait_until(BOOT_ID, lambda said: bool(said) and said != before)

    def wait_for_ssh(self, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        self._wait_until("echo up", lambda said: said == "up", timeout_s)

    def wait_until_booted(self) -> None:
        """Every service that starts by itself has started, or failed to."""
        self._wait_until("systemctl is-system-running", lambda said: said in ("running", "degraded"))

    def _wait_until(self, command: str, is_so: Callable[[str], bool], timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """is_so: of what the command says, "" where the board does not answer."""
        deadline = time.monotonic() + timeout_s
        said = ""
        while not is_so(said):
            waited = f"{command}: {said!r} after {timeout_s} s; see {self.run / 'console.log'}"
            assert time.monotonic() < deadline, waited
            with suppress(subprocess.TimeoutExpired):  # cut off in mid word: ssh itself would wait for long
                said = self.ssh(command, timeout_s=ANSWER_TIMEOUT_S).stdout.strip()
            time.sleep(0.3)

    def boot_id(self) -> str:
        return self.root(BOOT_ID).strip()

    def listing(self) -> list[str]:
        """Paths, kinds, modes, owners, sizes and link targets of all that outlives a boot.

        Without logs, what the system's own Python caches, and what its services write while they run.
        """
        prune = " -o ".join(f"-path '{path}'" for path in NOT_LISTED)
        found = self.root(
            f"find / -xdev \\( {prune} \\) -prune -o -type d -printf '%p %y %m %U:%G\\n' -o "
            "-printf '%p %y %m %U:%G %s %l\\n'"
        )
        return sorted(line for line in found.splitlines() if not line.startswith(MOVING))

    def _monitor(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(COMMAND_TIMEOUT_S)
            talk.connect(str(self.run / "monitor"))
            _until_prompt(talk)
            talk.sendall(command.encode() + b"\n")
            told = _until_prompt(talk)
        assert "rror" not in told, told


def _until_prompt(talk: socket.socket) -> str:
    heard = b""
    while not heard.endswith(b"(qemu) "):
        piece = talk.recv(4096)
        assert piece, heard
        heard += piece
    return heard.decode(errors="replace")


def built_board() -> Path:
    """Folder of a board with a snapshot, made where there is none. Raises NoEmulatedBoard."""
    cache = Path(os.environ.get("EDGEPARETO_BOARD_CACHE") or DEFAULT_CACHE).expanduser()
    scripts = b"".join((SCRIPTS / name).read_bytes() for name in ("build-board", "boot-board", "ina219-sim"))
    built = cache / hashlib.sha256(scripts).hexdigest()[:16]
    built.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:  # another run builds it: wait for that
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (built / "disk.ext4").exists():
            _build(built)
        absent = [tool for tool in RUN_NEEDS if shutil.which(tool) is None]
        if absent:
            raise NoEmulatedBoard(f"{', '.join(absent)} not found; the board is built already in {built}")
        if not (built / "snapshot.qcow2").exists():
            subprocess.run([SCRIPTS / "boot-board", built, "--save"], check=True, stdout=subprocess.DEVNULL)
    return built


def _build(built: Path) -> None:
    if platform.machine() != "x86_64":
        raise NoEmulatedBoard(f"it is built on x86-64 only, this is {platform.machine()}")
    release = platform.freedesktop_os_release()
    if (release.get("ID"), release.get("VERSION_ID")) != ("debian", "12"):
        raise NoEmulatedBoard(f"it is built on Debian 12 only, this is {release.get('PRETTY_NAME', 'another system')}")
    if os.geteuid() != 0:
        raise NoEmulatedBoard("it is built by root only, once; after that any user can run it")
    log = built / "build.log"
    with log.open("w") as output:
        ran = subprocess.run(
            [SCRIPTS / "build-board", built], stdout=output, stderr=subprocess.STDOUT, timeout=BUILD_TIMEOUT_S
        )
    last = log.read_text().strip().rpartition("\n")[2]
    if ran.returncode == TOOLS_MISSING:
        raise NoEmulatedBoard(last)
    assert ran.returncode == 0, f"build-board: {last}; see {log}"


@contextmanager
def running_board(built: Path, run: Path) -> Iterator[EmulatedBoard]:
    """A fresh board until the block ends."""
    boot = [SCRIPTS / "boot-board", built, run]
    try:
        subprocess.run([*boot, "--restore"], check=True, stdout=subprocess.DEVNULL)
        ports = dict(line.split() for line in (run / "ports").read_text().splitlines())
        yield EmulatedBoard(built=built, run=run, ssh_port=int(ports["ssh"]), agent_port=int(ports["agent"]))
    finally:
        subprocess.run([*boot, "--stop"], check=True)
