"""Make the .onnx files of this folder, or check that they still are what their definitions say. Needs torch.

cd tests && python -m models.make_torch_models [--check] [ARCHITECTURE ...]
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from models.catalogue import FIXTURES, Fixture
from models.torch_export import export, network_of
from numpy.typing import NDArray

TOLERANCE = 1e-4  # of an output's largest value
SMALLEST_OUTPUT = 1e-2  # below it, a comparison would say little
LARGEST_BYTES = 300_000
Outputs = list[NDArray[np.generic]]


def main() -> int:
    """Exit code 1 where a file is not what it must be, each fault in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="export to a temporary folder and compare the outputs")
    parser.add_argument("architectures", nargs="*", help="all by default")
    options = parser.parse_args()
    known = {fixture.architecture.name for fixture in FIXTURES}
    if unknown := sorted({*options.architectures} - known):
        parser.error(f"no architecture is called {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # the legacy exporter knows no fused encoder layer
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for fixture in FIXTURES:
            if options.architectures and fixture.architecture.name not in options.architectures:
                continue
            fresh = Path(folder) / fixture.path.name if options.check else fixture.path
            export(fixture, fresh)
            faults = list(faults_of(fixture, fresh))
            sys.stdout.write(
                f"{fixture.name:32} {fixture.path.stat().st_size:7} bytes  {'; '.join(faults) or 'good'}\n"
            )
            sys.stdout.flush()
            good = good and not faults
    return 0 if good else 1


def faults_of(fixture: Fixture, fresh: Path) -> Iterator[str]:
    """What is wrong with the committed file, compared with torch and with the file that was exported just now."""
    onnx.checker.check_model(fixture.path, full_check=True)
    if fixture.path.stat().st_size > LARGEST_BYTES:
        yield f"is larger than {LARGEST_BYTES} bytes"
    committed, again = _session(fixture.path), _session(fresh)
    names = (tuple(each.name for each in committed.get_inputs()), tuple(each.name for each in committed.get_outputs()))
    if names != (tuple(each.name for each in fixture.architecture.inputs), fixture.architecture.outputs):
        yield f"has the inputs and outputs {names}"
        return
    network = network_of(fixture.architecture)
    fixed = fixture.architecture.fixed_batch
    for batch in (1, 3) if fixed is None else (fixed,):
        feeds, others = (fixture.architecture.feeds(batch=batch, seed=seed) for seed in (0, 1))
        outputs = committed.run(None, feeds)
        with torch.no_grad():
            made = network(*(torch.from_numpy(value) for value in feeds.values()))
        wanted = [value.numpy() for value in (made if isinstance(made, tuple) else (made,))]
        yield from _differences(outputs, wanted, f"batch {batch}: torch")
        yield from _differences(outputs, again.run(None, feeds), f"batch {batch}: a new export")
        for name, output, other in zip(names[1], outputs, committed.run(None, others), strict=True):
            if np.abs(output).max() < SMALLEST_OUTPUT or np.abs(output - other).max() < SMALLEST_OUTPUT:
                yield f"'{name}' hardly depends on the input"


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _differences(outputs: Outputs, wanted: Outputs, whose: str) -> Iterator[str]:
    for output, other in zip(outputs, wanted, strict=True):
        if output.shape != other.shape:
            yield f"{whose} has the output shape {other.shape}, the file {output.shape}"
        elif not (error := float(np.abs(output - other).max() / np.abs(other).max())) <= TOLERANCE:  # NaN included
            yield f"{whose} differs by {error:.1e} of the largest output, at most {TOLERANCE:.0e} is allowed"


if __name__ == "__main__":
    sys.exit(main())
