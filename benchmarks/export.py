"""TFLite files, ours beside onnx2tf's flatbuffer_direct: seconds per conversion, latency in LiteRT, parity.

    python benchmarks/export.py [--quick]

The rival is installed into .venv-onnx2tf/ on first use (660 MB; it needs Python 3.12 or newer beside this one). All of
it, ours and theirs, on one thread. Ends with 1 where a bar is missed. --quick: fewer repeats, for a first look.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rival_environment import ONNX2TF, Rivals

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a first look, in a minute")
    quick = parser.parse_args().quick
    for name in ONE_THREAD:
        os.environ[name] = "1"
    # numpy reads ONE_THREAD when it is loaded
    from export_files import compare_files, write_nets
    from markdown_table import markdown_table

    with TemporaryDirectory() as folder, Rivals(ONNX2TF) as rival:
        rows = []
        missed = []
        for net in write_nets(Path(folder)):
            row, faults = compare_files(net, rival, conversions=3 if quick else 5, pairs=2 if quick else 12)
            rows.append(row)
            missed += faults
            print(f"{net.name}: {', '.join(row[1:])}", file=sys.stderr, flush=True)
    header = [
        "net",
        "conversion (best)",
        "bar",
        "ours, file to file (best)",
        "onnx2tf (best)",
        "times faster",
        "latency, ours / theirs",
        "relative error, ours, theirs",
    ]
    print(markdown_table(header, rows))
    for fault in missed:
        print(f"MISSED {fault}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
