"""What a board with LiteRT gets for a model: the .tflite file, and inputs and outputs as that file has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from edgepareto.host.errors import EvaluationError, ModelError
from edgepareto.host.export.arrays import write_arrays
from edgepareto.host.export.input_shapes import close_batch
from edgepareto.host.export.lite_model import make_lite_model, require_lite_model
from edgepareto.host.export.onnx_file import read_model, write_whole
from edgepareto.host.export.parity import Feed, measure_parity, require_parity
from edgepareto.host.export.tflite import LiteTensor
from numpy.typing import NDArray

__all__ = ["require_expressible", "write_lite_files"]


def require_expressible(model: onnx.ModelProto, name: str) -> None:
    """Raises ModelError with what LiteRT lacks."""
    require_lite_model(close_batch(model), name)


def write_lite_files(
    model: Path, inputs: Path, expected: Path, *, lite_model: Path, lite_inputs: Path, lite_expected: Path
) -> None:
    """Of an .onnx file with its sample inputs and ONNX Runtime's outputs on them; an open batch becomes 1.

    Raises EvaluationError, and writes nothing, where LiteRT cannot express the model or gives something else.
    """
    feeds, wanted = _rows(inputs), _rows(expected)
    try:
        lite = make_lite_model(close_batch(read_model(model)), model.name, feeds, wanted)
    except ModelError as error:
        raise EvaluationError(str(error)) from error
    require_parity(measure_parity(lite, feeds, wanted), "fp32")
    write_arrays(lite_inputs, {name: _moved(feeds, name, tensor) for name, tensor in lite.inputs.items()})
    write_arrays(lite_expected, {name: _moved(wanted, name, tensor) for name, tensor in lite.outputs.items()})
    write_whole(lite_model, lite.content)


def _rows(path: Path) -> list[Feed]:
    with np.load(path, allow_pickle=False) as arrays:
        table = {name: arrays[name] for name in arrays.files}
    return [{name: array[row] for name, array in table.items()} for row in range(len(next(iter(table.values()))))]


def _moved(rows: list[Feed], name: str, tensor: LiteTensor) -> NDArray[np.generic]:
    return np.stack([row[name].transpose(tensor.order).astype(tensor.dtype) for row in rows])
