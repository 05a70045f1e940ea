"""The command `onnx2tf` in a process and an environment of its own, on a copy of the model.

Its exact pins would put back other packages, it rewrites the file that it reads, and it may take minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepareto.host.export.onnx2tf.unusable import Unusable

__all__ = ["COMMAND", "find_command", "run_command"]

COMMAND = "onnx2tf"
# Without TensorFlow, and refused by versions that cannot do without: before 2 that takes an older Python and gigabytes.
OPTIONS = ("-tb", "flatbuffer_direct", "-osd", "-n")
TIMEOUT_S = 600.0
OURS = ("PYTHONPATH", "PYTHONHOME")  # would show it our packages
LONGEST_REASON = 200
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def find_command() -> Path | None:
    found = shutil.which(COMMAND)
    return None if found is None else Path(found)


def run_command(command: Path, model: bytes, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """The .tflite file of an .onnx file: 32-bit floats, one thread. Raises Unusable. Nothing runs on or is left."""
    with TemporaryDirectory(prefix="edgepareto-onnx2tf-") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model)
        _run([str(command), "-i", "model.onnx", "-o", "written", *OPTIONS], folder, timeout_s)
        try:
            return (folder / "written" / "model_float32.tflite").read_bytes()
        except OSError as error:
            raise Unusable("ended well and wrote no file") from error


def _run(words: list[str], folder: Path, timeout_s: float) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    environment |= {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    log = folder / "log.txt"
    try:
        with log.open("wb") as told:
            process = subprocess.Popen(
                words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=told, stderr=told,
                start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise Unusable(f"does not start, {error.strerror}") from error
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise Unusable(f"took longer than {timeout_s:g} s") from error
    finally:
        _end(process)
    if code != 0:
        raise Unusable(f"failed, exit code {code}: {_last_line(log)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it started: they are a session of their own, which Ctrl-C does not reach."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _last_line(log: Path) -> str:
    text = COLOURS.sub("", log.read_text(encoding="utf-8", errors="replace"))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return next((line[:LONGEST_REASON] for line in reversed(lines) if line), "it said nothing")
