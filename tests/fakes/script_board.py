"""A throw-away root for install-agent.sh, with stand-ins for what would touch this machine.

Everything else is real: the script, the shell, the files. `trip` makes the next call that fits a pattern fail.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["SCRIPT", "ScriptBoard", "make_bundle"]

SCRIPT = Path(__file__).parents[2] / "deploy" / "install-agent.sh"
DEPLOY = SCRIPT.parent
TRIPPING = """#!/bin/sh
name=${0##*/}
if [ -e "$FAKE/trip" ]; then
    case "$name $*" in
        $(cat "$FAKE/trip")) rm "$FAKE/trip"; [ -e "$FAKE/hang" ] && echo $$ > "$FAKE/hangs" && exec sleep 60; exit 1 ;;
    esac
fi
echo "$name $*" >> "$FAKE/calls"
"""
REAL = TRIPPING + 'PATH=${PATH#*:} exec "$name" "$@"\n'
# What is on the disk now; a name that changes afterwards is not what a power cut takes. Faster than a real one, too.
CONTENTS = "find \"$EDGEPARETO_ROOT\" -type f -printf '%i %B@ %T@ %s\\t%p\\n'"
SYNC = TRIPPING + CONTENTS + ' | cut -f 1 > "$FAKE/on-disk"\n'
SYSTEMCTL = (
    TRIPPING
    + """
verb=$1; shift
units=$EDGEPARETO_ROOT/etc/systemd/system
wants=$units/multi-user.target.wants
for unit; do
    case $unit in -*|*'*'*) continue ;; esac
    case $verb in
        enable) [ -e "$units/$unit" ] || exit 1; mkdir -p "$wants"; ln -sf "../$unit" "$wants/$unit" ;;
        disable) rm -f "$wants/$unit"; rmdir "$wants" 2>/dev/null ;;
        start|restart) [ -e "$units/$unit" ] || exit 5; : > "$FAKE/active-$unit" ;;
        stop) rm -f "$FAKE/active-$unit" ;;
        is-active) [ -e "$FAKE/active-$unit" ] || exit 3 ;;
        is-enabled) [ -L "$wants/$unit" ] || exit 1 ;;
    esac
done
exit 0
"""
)
USERADD = (
    TRIPPING
    + 'echo "edgepareto:x:990:990::/nonexistent:/usr/sbin/nologin" >> "$EDGEPARETO_ROOT/etc/passwd"\n'
    + ('echo "edgepareto:x:990:" >> "$EDGEPARETO_ROOT/etc/group"\n')
)
USERDEL = (
    TRIPPING
    + """
for file in passwd group; do sed -i '/^edgepareto:/d' "$EDGEPARETO_ROOT/etc/$file"; done
"""
)
# Makes a venv that is none: of use where the test is about what comes before and after.
PYTHON = (
    TRIPPING
    + """
for last; do :; done
case "$*" in
    *version_info*) echo 3.11 ;;
    "-m venv "*) mkdir -p "$last/bin" "$last/lib"; cp "$0" "$last/bin/python" ;;
esac
"""
)


class ScriptBoard:
    """root: what the script takes for /. shell: that runs it."""

    def __init__(self, folder: Path, *, shell: str = "sh", systemd: bool = True) -> None:
        self.root = folder / "root"
        self.fake = folder / "fake"
        self._shell = shell
        programs = self.fake / "bin"
        for place in ("etc/systemd/system", "etc/udev/rules.d", "dev", "opt", "var/lib", "run/lock", "tmp"):
            (self.root / place).mkdir(parents=True, exist_ok=True)
        programs.mkdir(parents=True, exist_ok=True)
        if systemd:
            (self.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.root / "etc/group").write_text("root:x:0:\n")
        (self.root / "etc/machine-id").write_text("0123456789abcdef\n")
        (self.root / "dev/i2c-1").touch()
        kinds = {"systemctl": SYSTEMCTL, "useradd": USERADD, "userdel": USERDEL, "python": PYTHON, "sync": SYNC}
        kinds |= dict.fromkeys(("cp", "mv", "rm", "ln", "chmod", "mktemp"), REAL)
        kinds |= dict.fromkeys(("journalctl", "groupdel"), TRIPPING)
        for name, text in kinds.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        subprocess.run(["sync"], env=self.environment(), check=True)
        self.calls()

    @property
    def stub_python(self) -> Path:
        return self.fake / "bin" / "python"

    def trip(self, pattern: str, *, hang: bool = False) -> None:
        """The next command line that fits the shell pattern fails; with hang it stands still instead."""
        (self.fake / "trip").write_text(pattern)
        if hang:
            (self.fake / "hang").touch()

    def was_tripped(self) -> bool:
        return not (self.fake / "trip").exists()

    def dies_at(self, step: str, *words: str) -> None:
        """A call of the script that is killed at the next command line that fits the shell pattern."""
        self.trip(step, hang=True)
        running = self.start(*words)
        deadline = time.monotonic() + 30
        while not (self.fake / "hangs").exists() or not (self.fake / "hangs").read_text():
            assert running.poll() is None, f"no {step!r} in {words}"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(running.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):  # timeout gives it a group of its own, or had not yet
            os.kill(int((self.fake / "hangs").read_text()), signal.SIGKILL)
        running.communicate()
        (self.fake / "hangs").unlink()
        (self.fake / "hang").unlink()

    def loses_power(self) -> None:
        """And gets it again: names are as they were, but what was written after the last sync is empty."""
        durable = set((self.fake / "on-disk").read_text().splitlines())
        told = subprocess.run(
            ["sh", "-c", CONTENTS], env=self.environment(), capture_output=True, text=True, check=True
        )
        for line in told.stdout.splitlines():
            content, _, path = line.partition("\t")
            if content not in durable:
                os.truncate(path, 0)
        for scratch in (self.root / "run").glob("edgepareto-*"):
            shutil.rmtree(scratch)

    def calls(self) -> list[str]:
        found = (self.fake / "calls").read_text().splitlines() if (self.fake / "calls").exists() else []
        (self.fake / "calls").unlink(missing_ok=True)
        return found

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._shell.split(), str(SCRIPT), *words],
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._shell.split(), str(SCRIPT), *words], env=self.environment(), input=stdin, capture_output=True
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *words: str, stdin: bytes = b"") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.ok("status").splitlines())

    def owners(self) -> dict[str, str]:
        """Fingerprints by name."""
        return dict(line.removeprefix("owner=").split(" ") for line in self.ok("owners").splitlines())

    def listing(self) -> dict[str, str]:
        """Everything below the root, and which units run; without /run, which no boot keeps."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if name.startswith("run"):
                continue
            try:
                about = path.lstat()
                if path.is_symlink():
                    found[name] = f"-> {path.readlink()}"
                elif path.is_dir():
                    found[name] = f"folder {stat.S_IMODE(about.st_mode):o}"
                else:
                    found[name] = f"{stat.S_IMODE(about.st_mode):o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            except FileNotFoundError:  # a script that is still at work took it away meanwhile
                found[name] = "gone"
        return found | {path.name: "runs" for path in self.fake.glob("active-*")}

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "EDGEPARETO_ROOT": str(self.root),
            "FAKE": str(self.fake),
            "PATH": f"{self.fake / 'bin'}:{os.environ['PATH']}",
        }


def make_bundle(
    folder: Path,
    *,
    release: str,
    interpreter: Path | str = sys.executable,
    python: str = "3.11",
    credentials: dict[str, bytes] | None = None,
    wheels: dict[str, bytes] | None = None,
    requirements: str = "",
    **settings: str,
) -> Path:
    """As host deploy makes it. credentials: contents by name below credentials/; wheels: by file name."""
    wheels = wheels or {"pip-26.0-py3-none-any.whl": b"not looked into"}
    installer = next(content for name, content in wheels.items() if name.startswith("pip-"))
    conf = {
        "release": release,
        "python": python,
        "interpreter": str(interpreter),
        "installer_sha256": hashlib.sha256(installer).hexdigest(),
        "port": "50051",
        "meter": "auto",
        **settings,
    }
    contents = {"bundle.conf": "".join(f"{key}={value}\n" for key, value in conf.items()).encode()}
    contents["requirements.txt"] = requirements.encode()
    contents |= {f"wheels/{name}": content for name, content in wheels.items()}
    contents |= {f"files/{file.name}": file.read_bytes() for file in DEPLOY.iterdir() if file.is_file()}
    contents |= {f"credentials/{name}": content for name, content in (credentials or {}).items()}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
