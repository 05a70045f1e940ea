"""A user at a machine of their own: the commands they type, as processes, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from on_board.emulated_board import EmulatedBoard

__all__ = ["Ran", "User"]

HOST = str(Path(sys.executable).with_name("host"))
TIMEOUT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that has ended."""

    line: str
    exit_code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """What it told at the end."""
        told = [line for line in self.stderr.splitlines() if line.strip()]
        return told[-1] if told else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """config: their configuration folder, None for the one of whoever runs the tests. desk: where they work.

    release: folder of packages that stand in for installed ones, as another release would.
    """

    config: Path | None
    desk: Path
    release: Path | None = None

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [HOST, *words],
            cwd=self.desk,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> Ran:
        try:
            stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        except BaseException:  # what still runs would hold the board in the next test
            process.kill()
            process.wait()
            raise
        return Ran(line=" ".join(map(str, process.args)), exit_code=process.returncode, stdout=stdout, stderr=stderr)

    def types(self, *words: str) -> Ran:
        return self.end(self.start(*words))

    def does(self, *words: str) -> Ran:
        """The same; fails the test where it fails."""
        ran = self.types(*words)
        assert ran.exit_code == 0, f"{ran.line}\n{ran.stdout}\n{ran.stderr}"
        return ran

    def is_refused(self, *words: str, saying: str) -> Ran:
        """Exit code 1 and, at the end, one line with these words (a pattern)."""
        ran = self.types(*words)
        assert ran.exit_code == 1, f"{ran.line}: {ran.exit_code}\n{ran.stdout}\n{ran.stderr}"
        assert re.search(saying, ran.last_line, re.IGNORECASE), ran.stderr
        assert "Traceback" not in ran.stderr
        return ran

    def adds(self, board: EmulatedBoard, *options: str, user: str = "pi", name: str = "pi1") -> None:
        """With the board's host key, as a script would."""
        where = {
            "--port": str(board.ssh_port),
            "--key": str(board.key),
            "--host-key": board.host_key,
            "--address": f"127.0.0.1:{board.agent_port}",
        }
        given = [word for flag, value in where.items() if flag not in options for word in (flag, value)]
        self.does("devices", "add", name, f"{user}@127.0.0.1", *given, *options)

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        if self.config is not None:
            environment["EDGEPARETO_CONFIG"] = str(self.config)
        if self.release is not None:
            environment["PYTHONPATH"] = str(self.release)
        return environment
