"""A board on which LiteRT is tflite-runtime, beside the numpy that fits it: an environment made of the users' extra.

python old_board.py     serves one runtime after the other: commands as JSON lines, arrays in the .npz files they name
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from edgepareto.agent.errors import Status, WorkerError
from edgepareto.agent.runtime.runtime import OperatorCost, Runtime, RuntimeOptions, RuntimeUsed
from numpy.typing import NDArray

PROJECT = Path(__file__).resolve().parents[2]
ENVIRONMENT = PROJECT / ".venv-tflite-legacy"
PYTHONS = ((3, 10), (3, 11))  # for which we support the agent and tflite-runtime 2.14 has a wheel
ABSENT = f"tflite-runtime has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]}, only for 3.10 and 3.11"

Arrays = Mapping[str, NDArray[np.generic]]


def can_be_made() -> bool:
    return sys.version_info[:2] in PYTHONS


def programs_of_old_board() -> Path:
    """The folder with `python` and `edgepareto-agent`; made on first use, and anew when pyproject.toml changes."""
    made_of = (PROJECT / "pyproject.toml").read_text()
    stamp = ENVIRONMENT / "made-of.toml"
    programs = ENVIRONMENT / "bin"
    if not stamp.exists() or stamp.read_text() != made_of:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT)
        install = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", ENVIRONMENT]
        install += ["install", "--only-binary=:all:", "--no-compile"]
        subprocess.run([*install, "--editable", f"{PROJECT}[agent-tflite-legacy]"], check=True)
        stamp.write_text(made_of)
    return programs


class OldBoardRuntime:
    """See Runtime: the agent's own, in that environment. `close` ends it."""

    def __init__(self, options: RuntimeOptions, programs: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ep-old-board-")
        self._arrays = Path(self._folder.name) / "arrays.npz"
        self._process = subprocess.Popen(
            [programs / "python", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            self._ask("open", **asdict(options))
        except WorkerError:
            self.close()
            raise

    def load(self, model: Path) -> RuntimeUsed:
        return RuntimeUsed(**self._ask("load", model=str(model)))

    def outputs(self, feed: Arrays) -> Arrays:
        np.savez(self._arrays, **feed)
        self._ask("outputs", arrays=str(self._arrays))
        with np.load(self._arrays) as arrays:
            return dict(arrays)

    def run(self, feed: Arrays) -> None:
        np.savez(self._arrays, **feed)
        self._ask("run", arrays=str(self._arrays))

    def time_operators(self, feeds: Sequence[Arrays]) -> tuple[OperatorCost, ...]:
        del feeds
        return tuple(OperatorCost(**cost) for cost in self._ask("time_operators")["costs"])

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _ask(self, command: str, **words: object) -> dict:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **words}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "verdict" in answer:
            raise WorkerError(Status[answer["verdict"]], answer["message"])
        return answer


def _serve() -> None:
    from edgepareto.agent.runtime import open_runtime

    runtime: Runtime | None = None
    for line in sys.stdin:
        words = json.loads(line)
        command = words.pop("command")
        answer: dict[str, object] = {}
        try:
            if command == "open":
                runtime = open_runtime(RuntimeOptions(**words), board=None, job="c/search/0")
            elif command == "load":
                answer = asdict(runtime.load(Path(words["model"])))
            elif command == "time_operators":
                answer = {"costs": [asdict(cost) for cost in runtime.time_operators(())]}
            else:
                with np.load(words["arrays"]) as arrays:
                    feed = dict(arrays)
                if command == "outputs":
                    np.savez(words["arrays"], **runtime.outputs(feed))
                else:
                    runtime.run(feed)
        except WorkerError as error:
            answer = {"verdict": error.status.name, "message": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
