"""Which function converts which ONNX operator. Each takes one node and writes its outputs into the conversion."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from edgepareto.host.export.tflite.conversion import Conversion

__all__ = ["CONVERTERS", "Converter", "converts"]

Converter = Callable[[Conversion, onnx.NodeProto], None]
CONVERTERS: dict[str, Converter] = {}


def converts(*op_types: str) -> Callable[[Converter], Converter]:
    def register(converter: Converter) -> Converter:
        for op_type in op_types:
            assert op_type not in CONVERTERS, op_type
            CONVERTERS[op_type] = converter
        return converter

    return register
