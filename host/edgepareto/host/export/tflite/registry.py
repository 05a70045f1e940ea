"""Which function converts which ONNX operator. Each takes one node and writes its outputs into the conversion."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.unsupported import Unsupported

__all__ = ["CONVERTERS", "Converter", "converts"]

Converter = Callable[[Conversion, onnx.NodeProto], None]
CONVERTERS: dict[str, Converter] = {}


def converts(*op_types: str, floats: bool = False) -> Callable[[Converter], Converter]:
    """floats: what TFLite has for it takes 32-bit floats alone."""

    def register(converter: Converter) -> Converter:
        for op_type in op_types:
            assert op_type not in CONVERTERS, op_type
            CONVERTERS[op_type] = _of_floats(converter) if floats else converter
        return converter

    return register


def _of_floats(converter: Converter) -> Converter:
    def convert(c: Conversion, node: onnx.NodeProto) -> None:
        kind = c.dtype(node.input[0])
        if kind != "float32":
            raise Unsupported(f"{node.op_type} of {kind}")
        converter(c, node)

    return convert
