"""A TFLite file in the making: tensors, constants, operators; then its bytes.

The schema is ai_edge_litert's own (tensorflow/lite/schema/schema.fbs); only buffers are packed here, because Python's
flatbuffers does not know the alignment of 16 bytes that the schema demands of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

__all__ = ["ELEMENT_TYPES", "Array", "Buffer", "FlatModel", "Table", "packed"]

Array: TypeAlias = NDArray[Any]
Table: TypeAlias = Any  # an object of the generated schema, which has no types

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
BUFFER_ALIGNMENT = 16
SIGNATURE = "serving_default"
SMALL_CONSTANT = 64  # elements; up to here equal ones are kept once
ELEMENT_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "uint8": schema.TensorType.UINT8,
    "bool": schema.TensorType.BOOL,
}


class FlatModel:
    """Tensors and operators by number, in the order in which they were made."""

    def __init__(self) -> None:
        self.tensors: list[Table] = []
        self.operators: list[Table] = []
        self.dtypes: list[str] = []
        self._buffers: list[Buffer] = [Buffer(None)]  # the first is every variable tensor's
        self._codes: dict[tuple[int, int], int] = {}
        self._small: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def tensor(self, name: str, shape: Sequence[int], dtype: str, *, state: bool = False) -> int:
        """A tensor that the model computes or is given. state: it keeps its value from one inference to the next."""
        return self._add(name, shape, dtype, buffer=0, state=state)

    def constant(self, value: Array, name: str) -> int:
        dtype = value.dtype.name
        small = value.size <= SMALL_CONSTANT
        key = (dtype, value.shape, value.tobytes()) if small else ("", (), b"")
        if small and key in self._small:
            return self._small[key]
        self._buffers.append(Buffer(value))
        number = self._add(name, value.shape, dtype, buffer=len(self._buffers) - 1)
        if small:
            self._small[key] = number
        return number

    def operator(
        self, code: str, inputs: Sequence[int], outputs: Sequence[int], options: Table = None, *, version: int = 1
    ) -> Table:
        """`code`: of schema.BuiltinOperator. options: an object of the schema, or None. An absent input is -1."""
        operator = schema.OperatorT()
        key = (int(getattr(schema.BuiltinOperator, code)), version)
        operator.opcodeIndex = self._codes.setdefault(key, len(self._codes))
        operator.inputs = list(inputs)
        operator.outputs = list(outputs)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.operators.append(operator)
        return operator

    def to_bytes(self, inputs: Mapping[str, int], outputs: Mapping[str, int], description: str) -> bytes:
        """The file, with one signature whose names are those of `inputs` and `outputs`."""
        inputs, outputs = self._drop_dead(inputs, outputs)
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = list(inputs.values()), list(outputs.values())
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs = [_tensor_map(name, number) for name, number in inputs.items()]
        signature.outputs = [_tensor_map(name, number) for name, number in outputs.items()]
        model = schema.ModelT()
        model.version = SCHEMA_VERSION
        model.description = description
        model.operatorCodes = [_operator_code(code, version) for code, version in self._codes]
        model.subgraphs, model.signatureDefs = [graph], [signature]
        return packed(model, self._buffers)

    def code_of(self, operator: Table) -> str:
        code = list(self._codes)[operator.opcodeIndex][0]
        return next(str(name) for name, value in vars(schema.BuiltinOperator).items() if value == code)

    def _drop_dead(
        self, inputs: Mapping[str, int], outputs: Mapping[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Leave out what no output needs; the new numbers of inputs and outputs."""
        live = {*inputs.values(), *outputs.values()}
        kept = []
        for operator in reversed(self.operators):
            if not live.isdisjoint(operator.outputs):
                live.update(operator.inputs, operator.outputs)
                kept.append(operator)
        numbers = {old: new for new, old in enumerate(sorted(live - {-1}))}
        numbers[-1] = -1
        tensors = [self.tensors[old] for old in numbers if old >= 0]
        used = {buffer: new for new, buffer in enumerate(sorted({0} | {tensor.buffer for tensor in tensors}))}
        codes = {old: new for new, old in enumerate(sorted({operator.opcodeIndex for operator in kept}))}
        for tensor in tensors:
            tensor.buffer = used[tensor.buffer]
        for operator in kept:
            operator.inputs = [numbers[number] for number in operator.inputs]
            operator.outputs = [numbers[number] for number in operator.outputs]
            operator.opcodeIndex = codes[operator.opcodeIndex]
        self.tensors, self.operators = tensors, kept[::-1]
        self._buffers = [self._buffers[old] for old in used]
        self._codes = {key: codes[old] for key, old in self._codes.items() if old in codes}
        new = [{name: numbers[number] for name, number in ends.items()} for ends in (inputs, outputs)]
        return new[0], new[1]

    def _add(self, name: str, shape: Sequence[int], dtype: str, *, buffer: int, state: bool = False) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), ELEMENT_TYPES[dtype]
        tensor.buffer, tensor.isVariable, tensor.hasRank = buffer, state, True
        self.tensors.append(tensor)
        self.dtypes.append(dtype)
        return len(self.tensors) - 1


def packed(model: Table, buffers: Sequence[Buffer]) -> bytes:
    """The file of a ModelT with these buffers in place of its own."""
    model.buffers = list(buffers)
    size = sum(buffer.size for buffer in buffers)
    builder = flatbuffers.Builder(0)
    builder.head = size + (size >> 4) + (1 << 16)
    # its own bytearray is filled with zeros first, in small pages; every byte of the file is written by the builder
    builder.Bytes = np.empty(builder.head, np.uint8).data
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])  # `Output` would copy it once more


class Buffer:
    """In place of the schema's BufferT: aligned, and copied once."""

    def __init__(self, value: Array | None) -> None:
        self._value = value  # transposed weights are no copy yet
        self.size = 0 if value is None else int(value.nbytes)

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802, the generated code calls it so
        data = None
        if self._value is not None and self.size:
            builder.StartVector(1, self.size, BUFFER_ALIGNMENT)
            builder.head -= self.size
            place = np.frombuffer(builder.Bytes, self._value.dtype, count=self._value.size, offset=builder.head)
            place.reshape(self._value.shape)[...] = self._value
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


def _operator_code(code: int, version: int) -> Table:
    made = schema.OperatorCodeT()
    made.builtinCode, made.version = code, version
    # readers from before 2020 look here, where 127 means the newer field
    made.deprecatedBuiltinCode = min(code, int(schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES))
    return made


def _tensor_map(name: str, number: int) -> Table:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, number
    return made
