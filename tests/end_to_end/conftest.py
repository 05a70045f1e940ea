"""A small project with the bundled model, a slice of its data and two simulated boards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"
SETTINGS = """
model = "mobilenet.onnx"

[data]
calibration = "calibration.npz"
validation = "validation.npz"
test = "test.npz"
scale = "1/255"

[search]
population = 4
measurements = 14
preset = "quick"
seed = 3

[devices.pi1]
simulate = "raspberry-pi-4b"
step = 32

[devices.jetson2]
simulate = "jetson-orin-nano"
step = 32

[devices.gone]
address = "127.0.0.1:9"
"""


@dataclass(frozen=True)
class Project:
    """A folder in which the user's commands run, as real processes."""

    folder: Path

    def host(
        self, *words: str, code: int = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `host WORDS`; a traceback or another exit code than `code` fails the test with everything printed."""
        done = subprocess.run(
            [sys.executable, "-m", "edgepareto.host", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, **(env or {})},
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def killed(self, *words: str, when: Callable[[], bool], with_signal: signal.Signals = signal.SIGKILL) -> int:
        """Start `host WORDS` and end it as soon as `when` holds; returns its exit code."""
        process = subprocess.Popen(
            [sys.executable, "-m", "edgepareto.host", *words],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while not when():
            assert process.poll() is None, f"ended by itself with {process.returncode}"
            assert time.monotonic() < deadline, "the moment to end it never came"
            time.sleep(0.02)  # the pace of looking, not a wait for luck
        process.send_signal(with_signal)
        return process.wait(timeout=30)


def excerpt(source: Path, target: Path, rows: int) -> None:
    with np.load(source) as data:
        np.savez(target, **{key: data[key][:rows] for key in data.files})


@dataclass
class Board:
    """A simulated board whose agent is a process of its own, as on a real one. It keeps its address and its state."""

    name: str
    model: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix:{self.folder / self.name}.sock"

    def start(self, *faults: str) -> None:
        """Anew, where it runs."""
        command = [sys.executable, "-m", "edgepareto.agent", "--listen", self.address, "--simulate", self.model]
        command += ["--state", str(self.folder / self.name), "--seed", "1", "--pace", "0.02", "--die-with-parent"]
        for fault in faults:
            command += ["--fault", fault]
        self.kill()
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        assert b"listening" in self.process.stdout.readline(), (self.folder / f"{self.name}.log").read_text()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=30)


def new_project(folder: Path) -> Project:
    (folder / "edgepareto.toml").write_text(SETTINGS)
    (folder / "mobilenet.onnx").write_bytes((EXAMPLE / "mobilenet.onnx").read_bytes())
    for name, rows in (("calibration", 64), ("validation", 200), ("test", 200)):
        excerpt(EXAMPLE / f"{name}.npz", folder / f"{name}.npz", rows)
    return Project(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of an undisturbed search on pi1 and jetson2, to compare with; nobody writes into it."""
    project = new_project(tmp_path_factory.mktemp("whole"))
    project.host("search", "--devices", "pi1,jetson2", "--quiet")
    return project.folder / "study"


@pytest.fixture
def boards(project: Project) -> Iterator[tuple[Board, Board]]:
    """pi1 and jetson2 of the project, running, at addresses of their own."""
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:  # short: a unix socket's path holds 107 bytes
        both = (
            Board("pi1", "raspberry-pi-4b", Path(folder)),
            Board("jetson2", "jetson-orin-nano", Path(folder)),
        )
        settings = project.folder / "edgepareto.toml"
        text = settings.read_text()
        for board in both:
            text = text.replace(f'simulate = "{board.model}"', f'address = "{board.address}"')
            board.start()
        settings.write_text(text)
        yield both
        for board in both:
            board.kill()
