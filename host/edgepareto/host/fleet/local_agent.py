"""An agent process of the host's own, for a simulated board or for this machine.

It listens on a unix socket in a folder that only this user may enter, and ends with the host, however the host ends.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgepareto.host.config import DeviceConfig
from edgepareto.host.errors import DeviceError

__all__ = ["LocalAgent"]

READY_DEADLINE_S = 60.0  # a cold start on a slow disk; usual is one second
END_DEADLINE_S = 12.0  # the agent gives a running batch 8 s to end
LOG_TAIL_BYTES = 4096
# Not -m: it looks in the current folder first, where a file of the user's would hide a module (3.10 has no -P).
AGENT = """\
import sys
sys.path[:] = filter(None, sys.path)
from edgepareto.agent.__main__ import main
sys.exit(main())
"""


class LocalAgent:
    """Started by the constructor, usable after `wait_ready`, ended by `close`.

    state: its folder, kept between runs. log_is_kept: False where that folder goes at the end, so that nobody is sent
    to look at the log in it.
    """

    def __init__(self, device: DeviceConfig, state: Path, *, log_is_kept: bool = True) -> None:
        assert device.simulate is not None or device.local, device
        self._device = device
        state.mkdir(parents=True, exist_ok=True)
        # Not in the study: a unix socket's path holds at most 107 bytes (unix(7)).
        self._folder = Path(tempfile.mkdtemp(prefix="edgepareto-"))
        self.target = f"unix:{self._folder / 'agent.sock'}"
        self._log = state / "agent.log"
        self._log_is_kept = log_is_kept
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(state),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the host, which then ends its agents in order
            )

    def wait_ready(self) -> None:
        """Returns when the agent listens. Raises DeviceError with its last words."""
        deadline = time.monotonic() + READY_DEADLINE_S
        line = b""
        assert self._process.stdout is not None
        answered = select.poll()  # select takes no descriptor above 1,023, which a notebook may have reached
        answered.register(self._process.stdout, select.POLLIN)
        while not line.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not answered.poll(left_s * 1000):
                raise DeviceError(
                    f"{self._device.name}: its agent was not ready in {READY_DEADLINE_S:.0f} s: {self._last_line()}"
                    f"{self._where_to_look()}"
                )
            piece = os.read(self._process.stdout.fileno(), 4096)
            if not piece:
                self._process.wait()
                raise DeviceError(f"{self._device.name}: its agent did not start: {self.last_words()}")
            line += piece
        assert json.loads(line)["listening"] == self.target

    def last_words(self) -> str | None:
        """How the process ended, with the last line of its log; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"{self._last_line()} ({how}{self._where_to_look()})"

    def close(self) -> None:
        """End the process, in order if it can, and remove its socket. Idempotent."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _last_line(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing in its log")
        return said.removeprefix("edgepareto-agent: ")

    def _where_to_look(self) -> str:
        return f"; log: {self._log}" if self._log_is_kept else ""

    def _command(self, state: Path) -> list[str]:
        device = self._device
        command = [sys.executable, "-c", AGENT, "--die-with-parent"]
        command += ["--listen", self.target, "--state", str(state)]
        if device.simulate is not None:
            command += ["--simulate", device.simulate, "--seed", str(device.seed), "--pace", str(device.pace)]
            for fault in device.faults:
                command += ["--fault", fault]
        else:
            command += ["--local"]
            if device.shared is not None:
                command += ["--shared" if device.shared else "--no-shared"]
        for mode in device.clock_modes:
            command += ["--clock-mode", mode]
        return command
