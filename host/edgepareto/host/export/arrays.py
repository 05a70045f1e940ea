"""What a board is fed and what it must answer: sample inputs and the host's own outputs on them, as .npz files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from edgepareto.host.errors import EvaluationError
from edgepareto.host.export.onnx_file import write_whole
from edgepareto.host.pruning.inference import ORT_ERRORS, open_session
from numpy.typing import NDArray

__all__ = ["expected_outputs", "write_arrays", "write_sample_inputs"]

Array = NDArray[np.generic]


class Samples(Protocol):
    """What `run_feed(i)` gives is fed to one run of the model as it stands."""

    def __len__(self) -> int: ...
    def run_feed(self, index: int) -> dict[str, Array]: ...


def write_sample_inputs(samples: Samples, count: int, path: Path) -> None:
    """The first `count` runs' inputs: per input an array whose row i is fed to run i as it stands."""
    feeds = [samples.run_feed(index) for index in range(min(count, len(samples)))]
    write_arrays(path, {name: np.stack([feed[name] for feed in feeds]) for name in feeds[0]})


def expected_outputs(model: Path, inputs_npz: Path, output_npz: Path) -> None:
    """Run every row of the sample inputs through ONNX Runtime, one thread; write one array per output, row i of run i.

    Raises EvaluationError where the runtime refuses the model or the inputs.
    """
    with np.load(inputs_npz, allow_pickle=False) as loaded:
        inputs = {name: loaded[name] for name in loaded.files}
    try:
        session = open_session(model)
        names = [output.name for output in session.get_outputs()]
        runs = [
            session.run(names, {name: array[row] for name, array in inputs.items()})
            for row in range(len(next(iter(inputs.values()))))
        ]
    except ORT_ERRORS as error:
        raise EvaluationError(f"{model.name}: ONNX Runtime failed on it: {str(error).splitlines()[0]}") from error
    write_arrays(output_npz, {name: np.stack([run[i] for run in runs]) for i, name in enumerate(names)})


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """An .npz of any key names (numpy.savez cannot write a key called `file`); equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # without a date: 1980, as numpy.savez writes
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    write_whole(path, buffer.getvalue())
