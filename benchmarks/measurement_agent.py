"""The agent's command as a user starts it, in folders of its own, marked so that all it starts can be found."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunningAgent", "running_agent"]

MARK = "EDGEPARETO_BENCHMARK"  # in the environment of the agent and so of all that it starts
QUOTA_MB = 1  # the smallest, so that blobs are evicted soon


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAgent:
    """folder: its state, its temporary files and its socket are below."""

    pid: int
    address: str
    folder: Path
    mark: str

    def processes(self) -> set[int]:
        """It, its children, zombies too, and every process that stems from it, orphans too."""
        return self._marked() | self._children()

    def _marked(self) -> set[int]:
        found = set()
        wanted = f"{MARK}={self.mark}".encode()
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                try:
                    environment = (process / "environ").read_bytes()
                except OSError:  # it ended, or is not ours
                    continue
                if wanted in environment.split(b"\0"):
                    found.add(int(process.name))
        return found

    def _children(self) -> set[int]:
        found: set[int] = set()
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(OSError):  # the thread has ended
                found.update(map(int, (task / "children").read_text().split()))
        return found


@contextmanager
def running_agent(flags: Sequence[str], folder: Path) -> Iterator[RunningAgent]:
    """Until the block ends."""
    (folder / "tmp").mkdir()
    config = folder / "agent.toml"
    config.write_text(f"blob_quota_mb = {QUOTA_MB}\n")
    mark = secrets.token_hex(8)
    command = [sys.executable, "-m", "edgepareto.agent", "--config", str(config), "--state", str(folder / "state")]
    command += ["--listen", f"unix:{folder}/agent.sock", "--die-with-parent", *flags]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), MARK: mark},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = json.loads(process.stdout.readline())["listening"]
        yield RunningAgent(pid=process.pid, address=address, folder=folder, mark=mark)
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
