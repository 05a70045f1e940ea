"""Which networks become a TFLite file, and how far it is from ONNX Runtime: a table of docs/tflite.md.

    python benchmarks/parity.py [--without-light]

The networks of tests/models, and the nine light_* models of the onnx package with weights by chance, compared by their
logits. One thread; 4 GB of memory. Ends with 1 where an error is above the bar.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-light", action="store_true", help="the networks of tests/models alone, in seconds")
    without_light = parser.parse_args().without_light
    for name in ONE_THREAD:
        os.environ[name] = "1"
    # numpy reads ONE_THREAD when it is loaded
    from parity_networks import LARGEST_ERROR, outcomes, table_of

    with TemporaryDirectory() as folder:
        found = []
        for outcome in outcomes(Path(folder), light=not without_light):
            print(f"{outcome.network}, {outcome.written_by}: {outcome.text}", file=sys.stderr, flush=True)
            found.append(outcome)
    print(table_of(found))
    missed = [outcome for outcome in found if outcome.error is not None and not outcome.error <= LARGEST_ERROR]
    for outcome in missed:
        print(f"MISSED {outcome.network}: relative error {outcome.error:.1e}, bar {LARGEST_ERROR:.0e}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
