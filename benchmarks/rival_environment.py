"""The rivals in a process of their own, in an environment that is made on first use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from types import TracebackType

__all__ = ["Rivals"]

REQUIREMENTS = ("torch==2.13.0", "torch-pruning==1.6.1", "onnxsim==0.8.1", "onnxruntime")
ENVIRONMENT = Path(__file__).resolve().parents[1] / ".venv-rivals"
PYTHON = ENVIRONMENT / "bin" / "python"


class Rivals:
    """A running rivals.py: a question to it is a dictionary, and so is the answer. Use with `with`."""

    def __init__(self) -> None:
        _install()
        script = Path(__file__).with_name("rivals.py")
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [PYTHON, script],
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
        """Blocks until the answer. Raises RuntimeError where rivals.py ended instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **details}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"benchmarks/rivals.py ended at '{do}' {details}; run it by hand in {ENVIRONMENT}")
        answer: dict[str, float | str] = json.loads(line)
        return answer


def _install() -> None:
    """A stamp with the requirements says that the environment is whole."""
    stamp = ENVIRONMENT / "installed.txt"
    wanted = "\n".join(REQUIREMENTS)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"installing {', '.join(REQUIREMENTS)} into {ENVIRONMENT}", file=sys.stderr)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    stamp.write_text(wanted, encoding="utf-8")
