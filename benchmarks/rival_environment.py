"""The rivals in a process of their own, in an environment that is made on first use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

__all__ = ["ONNX2TF", "PRUNERS", "Environment", "Rivals"]

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """folder: in the repository's. script: beside this file, what runs there. python: the oldest that will do."""

    folder: str
    requirements: tuple[str, ...]
    script: str
    python: tuple[int, int] = (3, 10)

    @property
    def path(self) -> Path:
        return HERE.parent / self.folder

    @property
    def executable(self) -> Path:
        return self.path / "bin" / "python"

    def install(self) -> None:
        """A stamp with the requirements says that the environment is whole. Raises SystemExit without such a Python."""
        stamp = self.path / "installed.txt"
        wanted = "\n".join(self.requirements)
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            return
        python = _python_of_at_least(self.python)
        print(f"installing {', '.join(self.requirements)} into {self.path}", file=sys.stderr)
        subprocess.run([python, "-m", "venv", "--clear", self.path], check=True)
        subprocess.run([self.executable, "-m", "pip", "install", "--quiet", *self.requirements], check=True)
        stamp.write_text(wanted, encoding="utf-8")


PRUNERS = Environment(
    folder=".venv-rivals",
    requirements=("torch==2.13.0", "torch-pruning==1.6.1", "onnxsim==0.8.1", "onnxruntime"),
    script="rivals.py",
)
ONNX2TF = Environment(
    folder=".venv-onnx2tf", requirements=("onnx2tf==2.6.9",), script="onnx2tf_rival.py", python=(3, 12)
)


class Rivals:
    """A running script of an environment: a question to it is a dictionary, and so is the answer. Use with `with`."""

    def __init__(self, environment: Environment) -> None:
        environment.install()
        self._environment = environment
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [environment.executable, HERE / environment.script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=one_thread,
        )

    def __enter__(self) -> Rivals:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # it leaves its loop
        self._process.wait()
        self._process.stdout.close()

    def ask(self, do: str, **details: str | float) -> dict[str, float | str]:
        """Blocks until the answer. Raises RuntimeError where the script ended instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **details}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            ran = self._environment
            raise RuntimeError(f"benchmarks/{ran.script} ended at '{do}' {details}; run it by hand in {ran.path}")
        answer: dict[str, float | str] = json.loads(line)
        return answer


def _python_of_at_least(version: tuple[int, int]) -> Path:
    """This one where it will do, else the newest beside it: on PATH, or where pyenv keeps them."""
    if sys.version_info[:2] >= version:
        return Path(sys.executable)
    seen: dict[tuple[int, int], Path] = {}
    for python in _pythons():
        told = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if told.returncode == 0:  # a launcher of pyenv may have nothing to launch
            major, minor = told.stdout.split()
            seen.setdefault((int(major), int(minor)), python)
    newest = max(seen, default=(0, 0))
    if newest < version:
        raise SystemExit(f"Python {version[0]}.{version[1]} or newer is needed beside this one; none is on PATH")
    return seen[newest]


def _pythons() -> Iterator[Path]:
    on_path = (shutil.which(f"python3.{minor}") for minor in range(10, 15))
    yield from (Path(found) for found in on_path if found is not None)
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(root.glob("versions/*/bin/python3"))
