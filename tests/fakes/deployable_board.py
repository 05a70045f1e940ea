"""A board for `host deploy`: an SSH server, install-agent.sh in a root of its own, and the agent that systemd starts.

Host, SSH, script, credentials folder and agent are real. The service manager is a stand-in that starts the agent as a
process, the environment of a release is a folder, and the board's facts are written down.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
from edgepareto.host.deploy.host_keys import fingerprint
from fakes.script_board import ScriptBoard
from fakes.ssh_server import SshServer, make_key, running
from fakes.tiny_wheels import write_wheel

__all__ = ["BOARD_SCRIPT", "FACTS_SCRIPT", "DeployableBoard", "deployable_board", "give_wheels"]

# In place of the host's constants: each board has a root and facts of its own.
BOARD_SCRIPT = "$EDGEPARETO_ROOT/opt/edgepareto/install-agent.sh"
FACTS_SCRIPT = '. "$FAKE/facts"\n'

# Paths of agent.toml are the board's; a moved folder or port stands for what is wrong between board and host.
SYSTEMCTL = """#!/bin/sh
"$FAKE/units/systemctl" "$@" || exit
case " $* " in *" edgepareto-agent.service "*) ;; *) exit 0 ;; esac
end() { if [ -e "$FAKE/pid" ]; then kill "$(cat "$FAKE/pid")" 2>/dev/null
        while kill -0 "$(cat "$FAKE/pid")" 2>/dev/null; do sleep 0.05; done; rm "$FAKE/pid"; fi; }
begin() {
    rm -f "$FAKE/started"
    { echo "sys_root = \\"$EDGEPARETO_ROOT\\""; echo "shared = true"
      changed=$FAKE/changed
      [ -e "$changed-$(readlink "$EDGEPARETO_ROOT/opt/edgepareto/current")" ] && changed=/dev/null
      sed -f "$changed" "$EDGEPARETO_ROOT/etc/edgepareto/agent.toml" |
        sed '/^shared = /d; s|= "/\\([a-z]\\)|= "'"$EDGEPARETO_ROOT"'/\\1|'; } > "$FAKE/agent.toml"
    setsid "$PYTHON" -m edgepareto.agent --config "$FAKE/agent.toml" --state "$FAKE/state" \\
        < /dev/null > "$FAKE/started" 2>> "$FAKE/log" 9>&- &
    echo $! > "$FAKE/pid"
    while [ ! -s "$FAKE/started" ]; do kill -0 $! || exit 1; sleep 0.05; done
}
case $1 in stop) end ;; restart) end; begin ;; start) [ -e "$FAKE/pid" ] || begin ;; esac
"""
DATE = '#!/bin/sh\ncase "$*" in "-u -s "*) echo "$3" > "$FAKE/clock" ;; *) PATH=${PATH#*:} exec date "$@" ;; esac\n'
SUDO = '#!/bin/sh\nwhile case ${1-} in -*) true ;; *) false ;; esac; do shift; done\nexec "$@"\n'
FACTS = {
    "facts": "1", "arch": os.uname().machine, "bits": "64", "user": "pi", "uid": "1000", "groups": "pi sudo i2c",
    "os": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.6", "model": "Raspberry Pi 4 Model B Rev 1.4",
    "libc": "glibc 2.36", "disk": "/opt 24117248 rw\ndisk=/var/lib 24117248 rw\ndisk=/tmp 24117248 rw",
    "root_kind": "ext4", "memory_kb": "3884000", "available_kb": "3400000", "memory_cgroup": "on", "init": "systemd",
    "systemd": "252", "sudo": "yes", "i2c_module": "yes", "i2c": "1 i2c yes bus",
}  # fmt: skip


class DeployableBoard:
    """script: what the board holds. server: its SSH. agent_port: of loopback."""

    def __init__(self, folder: Path, name: str, agent_port: int, server: SshServer) -> None:
        self.name = name
        self.agent_port = agent_port
        self.server = server
        self.script = ScriptBoard(folder)
        root, fake = self.script.root, self.script.fake
        self.home = folder / "home"
        for place in (root / "proc", root / "sys", fake / "units", self.home):
            place.mkdir()
        (root / "etc/machine-id").write_text(f"{name}\n")
        (root / "dev/i2c-1").unlink()
        programs = fake / "bin"
        (programs / "systemctl").rename(fake / "units" / "systemctl")
        for program, text in (
            ("systemctl", SYSTEMCTL),
            ("sudo", SUDO),
            ("date", DATE),
            ("timedatectl", "#!/bin/sh\necho no\n"),
        ):
            (programs / program).write_text(text)
            (programs / program).chmod(0o755)
        self.changed("")
        self.board_id = self.script.status()["board_id"]
        self.tells(python=f"{self.script.stub_python} 3.11.2 64 venv")
        server.path = str(programs)
        server.environment = {
            "EDGEPARETO_ROOT": str(root),
            "FAKE": str(fake),
            "HOME": str(self.home),
            "PYTHON": sys.executable,
        }

    @property
    def entry(self) -> dict[str, object]:
        """For the inventory."""
        return {
            "ssh": "pi@127.0.0.1",
            "port": self.server.port,
            "host_key": fingerprint(self.server.host_key.asbytes()),
            "address": f"127.0.0.1:{self.agent_port}",
        }

    @property
    def credentials(self) -> Path:
        return self.script.root / "etc/edgepareto/credentials"

    def tells(self, **changed: str) -> None:
        """What preflight.sh says of it."""
        self._facts = {**getattr(self, "_facts", FACTS), **changed}
        lines = [f"{key}={value}" for key, value in {"board_id": self.board_id, **self._facts, "end": "yes"}.items()]
        clock = "" if "clock" in self._facts else 'echo "clock=$(date +%s)"\n'
        (self.script.fake / "facts").write_text(f"{clock}cat <<'.'\n" + "\n".join(lines) + "\n.\n")

    def changed(self, sed: str) -> None:
        """How what the agent reads differs from agent.toml, from its next start on; "": not at all."""
        (self.script.fake / "changed").write_text(sed)

    def changed_for_new_releases(self, sed: str) -> None:
        """The same for every agent but that of the release that is there now."""
        self.changed(sed)
        kept = self.script.fake / f"changed-releases/{self.script.status()['release']}"
        kept.parent.mkdir()
        kept.touch()

    def agent_runs(self) -> bool:
        return (self.script.fake / "pid").exists()

    def stops(self) -> None:
        """The agent, as when the board is switched off."""
        file = self.script.fake / "pid"
        if file.exists():
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)
            file.unlink()

    def starts(self) -> None:
        """The agent, as at a boot."""
        command = [self.script.fake / "bin" / "systemctl", "start", "edgepareto-agent.service"]
        subprocess.run(command, check=True, env=self.script.environment() | self.server.environment)


@contextmanager
def deployable_board(folder: Path, name: str, host_folder: Path) -> Iterator[DeployableBoard]:
    """Lets in whoever has .ssh/id_ed25519 of host_folder. Its agent ends with it."""
    folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        agent_port = int(probe.getsockname()[1])
    host_key = paramiko.PKey.from_path(make_key(folder, "host_key"))
    mine = host_folder / ".ssh" / "id_ed25519"
    if not mine.exists():
        mine.parent.mkdir(parents=True, exist_ok=True)
        make_key(mine.parent, mine.name)
    key = paramiko.PKey.from_path(mine)
    with running(SshServer(host_key=host_key, keys=[key.asbytes()])) as server:
        board = DeployableBoard(folder, name, agent_port, server)
        try:
            yield board
        finally:
            board.stops()


def give_wheels(folder: Path, version: str) -> Path:
    """For --wheelhouse, complete: another version makes another release."""
    write_wheel(folder, "pip", "26.0")
    write_wheel(folder, "runtime", version)
    return folder
