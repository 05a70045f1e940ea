"""What a board gets for a pruned model in another format than its .onnx file, and the gate that each file passes first.

A .tflite file takes and gives arrays in an order of axes of its own: sample inputs and expected outputs are written in
that order, and a description lies beside the file, so that the host can run it as if it were the .onnx one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from edgepareto.host.errors import EvaluationError, ModelError
from edgepareto.host.export.arrays import write_arrays
from edgepareto.host.export.input_shapes import close_batch
from edgepareto.host.export.lite_model import make_lite_model, require_lite_model
from edgepareto.host.export.onnx_file import read_model, write_whole
from edgepareto.host.export.parity import Feed, lite_outputs, measure_parity, onnx_outputs, require_parity
from edgepareto.host.export.tflite import LiteModel, LiteTensor
from numpy.typing import NDArray

__all__ = ["read_lite_file", "require_expressible", "write_int8_onnx", "write_lite_files"]


def require_expressible(model: onnx.ModelProto, name: str) -> None:
    """Raises ModelError with what LiteRT lacks."""
    require_lite_model(close_batch(model), name)


def write_lite_files(
    model: Path,
    inputs: Path,
    expected: Path,
    *,
    lite_model: Path,
    lite_inputs: Path,
    lite_expected: Path,
    lite_tensors: Path | None = None,
    precision: str = "fp32",
    calibration: Sequence[Feed] = (),
) -> float:
    """Of an .onnx file with its sample inputs and ONNX Runtime's outputs on them; an open batch becomes 1.

    calibration: for int8. Gives the largest relative difference of its outputs to the .onnx file's. lite_expected is
    what the file itself gives where it is quantised. Raises EvaluationError, and writes nothing, where LiteRT cannot
    express the model or gives something else; DataError for too few calibration samples.
    """
    feeds, wanted = _rows(inputs), _rows(expected)
    opened = close_batch(read_model(model))
    try:
        lite = make_lite_model(opened, model.name, feeds, wanted, half=precision == "fp16")
    except ModelError as error:
        raise EvaluationError(str(error)) from error
    parity = measure_parity(lite, feeds, wanted)
    require_parity(parity, "fp16" if precision == "fp16" else "fp32")
    error_seen = parity.relative
    if precision == "int8":
        from edgepareto.host.export.quantize import int8_method, quantize_lite

        lite = quantize_lite(lite, calibration, method=int8_method(opened), name=model.name)
        seen = lite_outputs(lite, feeds)
        error_seen, wanted = _fidelity(wanted, seen, model.name), seen
    write_arrays(lite_inputs, {name: _moved(feeds, name, tensor) for name, tensor in lite.inputs.items()})
    write_arrays(lite_expected, {name: _moved(wanted, name, tensor) for name, tensor in lite.outputs.items()})
    if lite_tensors is not None:
        write_whole(lite_tensors, _described(lite))
    write_whole(lite_model, lite.content)
    return error_seen


def read_lite_file(file: Path, tensors: Path) -> LiteModel:
    """What `write_lite_files` wrote."""
    described = json.loads(tensors.read_text())
    inputs, outputs = _tensors(described["inputs"]), _tensors(described["outputs"])
    return LiteModel(content=file.read_bytes(), inputs=inputs, outputs=outputs)


def write_int8_onnx(
    model: Path, inputs: Path, expected: Path, calibration: Sequence[Feed], *, int8_model: Path, int8_expected: Path
) -> float:
    """The same for ONNX Runtime in int8."""
    from edgepareto.host.export.quantize import int8_method, quantize_onnx

    opened, feeds, wanted = read_model(model), _rows(inputs), _rows(expected)
    content = quantize_onnx(opened, calibration, method=int8_method(opened), name=model.name)
    seen = onnx_outputs(content, feeds)
    error_seen = _fidelity(wanted, seen, model.name)
    write_arrays(int8_expected, {name: np.stack([run[name] for run in seen]) for name in seen[0]})
    write_whole(int8_model, content)
    return error_seen


def _fidelity(wanted: Sequence[Feed], seen: Sequence[Feed], name: str) -> float:
    from edgepareto.host.export.quantize import measure_fidelity, require_fidelity

    found = measure_fidelity(wanted, seen)
    require_fidelity(found, name)
    return found.relative


def _described(lite: LiteModel) -> bytes:
    ends = {"inputs": lite.inputs, "outputs": lite.outputs}
    return json.dumps(
        {end: {name: asdict(tensor) for name, tensor in tensors.items()} for end, tensors in ends.items()}
    ).encode()


def _tensors(described: Mapping[str, Mapping[str, list[int] | str]]) -> dict[str, LiteTensor]:
    return {
        name: LiteTensor(shape=_sizes(one["shape"]), dtype=str(one["dtype"]), order=_sizes(one["order"]))
        for name, one in described.items()
    }


def _sizes(value: list[int] | str) -> tuple[int, ...]:
    return tuple(int(size) for size in value)


def _rows(path: Path) -> list[Feed]:
    with np.load(path, allow_pickle=False) as arrays:
        table = {name: arrays[name] for name in arrays.files}
    return [{name: array[row] for name, array in table.items()} for row in range(len(next(iter(table.values()))))]


def _moved(rows: Sequence[Feed], name: str, tensor: LiteTensor) -> NDArray[np.generic]:
    return np.stack([row[name].transpose(tensor.order).astype(tensor.dtype) for row in rows])
