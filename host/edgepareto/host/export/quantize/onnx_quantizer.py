"""ONNX in, ONNX out, by onnxruntime.quantization."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
from edgepareto.host.errors import EvaluationError
from edgepareto.host.export.parity import Feed
from edgepareto.host.export.quantize.rules import Method
from edgepareto.host.export.quantize.samples import calibrating
from edgepareto.host.pruning.inference import ORT_ERRORS, fuse
from edgepareto.host.pruning.normal_form import int_attribute
from onnxruntime import quantization
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

__all__ = ["quantize_onnx"]

PER_CHANNEL_OPSET = 13  # from here on DequantizeLinear has an axis
PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")  # else it tells the user to do what was done
WHAT_IT_RAISES = (*ORT_ERRORS, AssertionError, KeyError, IndexError, NotImplementedError, TypeError, ValueError)
# With signed ones ONNX Runtime 1.32 on x86 leaves every layer whose input has two readers in floats (docs/int8.md); Arm
# has kernels for both.
ACTIVATIONS = quantization.QuantType.QUInt8
# These have no integer kernel: around them only time and accuracy are lost.
IN_FLOAT = {"BatchNormalization", "ConvTranspose", "InstanceNormalization", "LayerNormalization"}
STATIC_TYPES = tuple(sorted({*QDQRegistry, *QLinearOpsRegistry} - IN_FLOAT))
DYNAMIC_TYPES = ("Attention", "LSTM", "MatMul")  # ConvInteger is slower than a convolution in floats


def quantize_onnx(model: onnx.ModelProto, feeds: Sequence[Feed], *, method: Method, name: str) -> bytes:
    """The file. The same arguments give the same bytes. name: begins messages.

    STATIC: QuantizeLinear and DequantizeLinear around every operator that ONNX Runtime has in integers, weights per
    channel. DYNAMIC: MatMul and LSTM weights; feeds are not used.
    Raises DataError for too few samples, EvaluationError where the quantiser fails.
    """
    samples = calibrating(feeds) if method is Method.STATIC else ()
    try:
        with tempfile.TemporaryDirectory(prefix="edgepareto-int8-") as folder, _silence():
            prepared, made = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
            ready = _prepared(model, Path(folder))
            odd = _beyond_the_quantiser(ready)
            onnx.save(ready, prepared)
            if method is Method.STATIC:
                quantization.quantize_static(
                    prepared,
                    made,
                    _Reader(samples),
                    per_channel=True,
                    activation_type=ACTIVATIONS,
                    op_types_to_quantize=list(STATIC_TYPES),
                    nodes_to_exclude=odd,
                )
            else:
                quantization.quantize_dynamic(
                    prepared,
                    made,
                    per_channel=True,
                    op_types_to_quantize=list(DYNAMIC_TYPES),
                    nodes_to_exclude=odd,
                )
            return _finished(onnx.load(made), model)
    except WHAT_IT_RAISES as error:
        raise EvaluationError(f"{name}: ONNX Runtime cannot quantise it: {_first_line(error)}") from error


@contextmanager
def _silence() -> Iterator[None]:
    """It tells the root logger of what it leaves alone, and would set up logging for the whole process to do so."""
    root, handler = logging.getLogger(), logging.NullHandler()

    def drop(record: logging.LogRecord) -> bool:
        return False

    root.addHandler(handler)
    root.addFilter(drop)
    try:
        yield
    finally:
        root.removeFilter(drop)
        root.removeHandler(handler)


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _prepared(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Of an opset that can hold it, and with layers and what follows them made one: a range that is thrown away costs
    accuracy."""
    newer = model
    if next((entry.version for entry in model.opset_import if entry.domain == ""), 0) < PER_CHANNEL_OPSET:
        newer = onnx.version_converter.convert_version(model, PER_CHANNEL_OPSET)
    fused = fuse(newer.SerializeToString(), folder / "fused.onnx")
    fused.metadata_props.add(key=PREPARED[0], value=PREPARED[1])
    for number, node in enumerate(fused.graph.node):
        node.name = node.name or f"{node.op_type}#{number}"
    return fused


def _beyond_the_quantiser(model: onnx.ModelProto) -> list[str]:
    """Layers that it fails on, or ONNX Runtime on what it makes of them: a bias that is broadcast to one number per
    output, weights of more than two axes."""
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        weight, bias = (constants.get(name) for name in (*node.input, "", "", "")[1:3])
        if node.op_type == "Gemm" and weight is not None and bias is not None:
            outputs = weight[0 if int_attribute(node, "transB", 0) else 1]
            found.extend([node.name] if bias != (outputs,) else [])
        elif node.op_type == "MatMul" and weight is not None and len(weight) != 2:
            found.append(node.name)
    return found


def _finished(made: onnx.ModelProto, given: onnx.ModelProto) -> bytes:
    """Without what only the quantiser needed; boards may have an older ONNX Runtime than this machine."""
    used = {node.domain for node in made.graph.node} | {""}
    imports = sorted({(entry.domain, entry.version) for entry in made.opset_import if entry.domain in used})
    del made.opset_import[:]
    made.opset_import.extend(onnx.OperatorSetIdProto(domain=domain, version=version) for domain, version in imports)
    del made.metadata_props[:]
    made.metadata_props.extend(given.metadata_props)
    made.producer_name, made.producer_version = given.producer_name, given.producer_version
    del made.graph.value_info[:]
    return made.SerializeToString(deterministic=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
