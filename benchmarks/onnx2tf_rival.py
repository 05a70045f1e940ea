"""onnx2tf's flatbuffer_direct at the same work: one JSON request per line in, one JSON answer per line out, one thread.

Runs in an environment of its own (rival_environment.py).
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from onnx2tf import convert


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        assert request.pop("do") == "convert"
        with redirect_stdout(sys.stderr):
            answer = convert_file(**request)
        print(json.dumps(answer), flush=True)


def convert_file(model: str, to: str) -> dict[str, float]:
    """CPU time. Of a copy, as it rewrites its input; it also writes a 16-bit file and a report, unasked."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "model.onnx"
        shutil.copyfile(model, copy)
        start = time.process_time()
        convert(
            input_onnx_file_path=str(copy),
            output_folder_path=folder,
            tflite_backend="flatbuffer_direct",
            non_verbose=True,
        )
        seconds = time.process_time() - start
        shutil.copyfile(Path(folder) / "model_float32.tflite", to)
    return {"seconds": seconds}


if __name__ == "__main__":
    main()
