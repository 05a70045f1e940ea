"""A .tflite file that another program wrote, made one as ours are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.onnx2tf.unusable import Unusable
from edgepareto.host.export.parity import Feed, measure_parity
from edgepareto.host.export.tflite import LiteModel, LiteTensor
from edgepareto.host.export.tflite.flat_model import ELEMENT_TYPES, SIGNATURE, Buffer, Table, packed
from edgepareto.host.export.tflite.placement import Order, channels_last, plain
from edgepareto.host.pruning.inference import without_stderr

__all__ = ["ForeignFile"]

TYPE_NAMES = {number: name for name, number in ELEMENT_TYPES.items()}
MOST_ORDERS = 64  # that are tried by running the file


class ForeignFile:
    """content: the file. names: the ONNX model's name of each name in its signature. writer: who wrote it.

    Raises Unusable for what is no such file or has custom operators: no board has the library that they need.
    """

    def __init__(self, content: bytes, names: Mapping[str, str], writer: str) -> None:
        _require_valid(content)
        file = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        custom = [code.customCode for code in file.operatorCodes if code.customCode]
        if custom:
            raise Unusable(f"left custom operators, {', '.join(sorted(code.decode() for code in custom))}")
        self._writer = writer
        self._inputs, self._outputs = _take_over_signature(file, names)
        self._content = packed(file, [Buffer(buffer.data) for buffer in file.buffers])

    def lite_model(self, feeds: Sequence[Feed], expected: Sequence[Feed]) -> LiteModel:
        """feeds, expected: one run's inputs and outputs each, as ONNX has them; they tell the order of axes.

        Shapes tell it where no two of an image's sizes are alike. Else each order is tried, and the one that computes
        what is expected is right; the parity gate judges it afterwards. Raises Unusable where none fits.
        EvaluationError where LiteRT refuses the file.
        """
        candidates = [
            LiteModel(content=self._content, inputs=inputs, outputs=outputs, writer=self._writer)
            for inputs, outputs in itertools.product(
                _orders(self._inputs, feeds[0], "input"), _orders(self._outputs, expected[0], "output")
            )
        ]
        if len(candidates) > MOST_ORDERS:
            raise Unusable(f"leaves {len(candidates)} orders of axes possible, allowed are {MOST_ORDERS}")
        if len(candidates) == 1:
            return candidates[0]
        errors = [measure_parity(lite, feeds, expected).relative for lite in candidates]
        return candidates[min(range(len(errors)), key=lambda i: (math.isnan(errors[i]), errors[i]))]


def _require_valid(content: bytes) -> None:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with without_stderr():
            Interpreter(model_content=content)  # checks every offset; the generated reader checks none
    except ValueError as error:
        raise Unusable("wrote what is no .tflite file") from error


def _take_over_signature(file: Table, names: Mapping[str, str]) -> tuple[dict[str, Table], dict[str, Table]]:
    """Its inputs and outputs by the ONNX model's names, which the signature then has too."""
    if len(file.signatureDefs or []) != 1:
        raise Unusable("wrote no signature, or several")
    signature = file.signatureDefs[0]
    signature.signatureKey = SIGNATURE
    tensors = file.subgraphs[signature.subgraphIndex].tensors
    for tensor_map in (*signature.inputs, *signature.outputs):
        given = tensor_map.name.decode()
        if given not in names:
            raise Unusable(f"calls an input or output '{given}'")
        tensor_map.name = names[given]
    found = [{m.name: tensors[m.tensorIndex] for m in maps} for maps in (signature.inputs, signature.outputs)]
    left_out = [name for name in names.values() if name not in {**found[0], **found[1]}]
    if left_out:
        raise Unusable(f"left out {', '.join(left_out)}")
    return found[0], found[1]


def _orders(tensors: Mapping[str, Table], values: Feed, what: str) -> Iterator[dict[str, LiteTensor]]:
    """All that the shapes allow."""
    possible = [_orders_of_one(tensors[name], values[name].shape, f"{what} {name}") for name in tensors]
    return (dict(zip(tensors, chosen, strict=True)) for chosen in itertools.product(*possible))


def _orders_of_one(tensor: Table, shape: tuple[int, ...], called: str) -> list[LiteTensor]:
    stored = tuple(int(size) for size in ([] if tensor.shape is None else tensor.shape))
    if tensor.type not in TYPE_NAMES:
        raise Unusable(f"gives {called} a type that boards are not sent")
    if tensor.shapeSignature is not None and any(size < 0 for size in tensor.shapeSignature):
        raise Unusable(f"leaves a size of {called} open")
    orders: list[Order] = [
        order
        for order in dict.fromkeys((plain(len(shape)), channels_last(len(shape))))
        if tuple(shape[axis] for axis in order) == stored
    ]
    if not orders:
        raise Unusable(f"gives {called} the shape {stored}, the model has {shape}")
    return [LiteTensor(shape=stored, dtype=TYPE_NAMES[tensor.type], order=order) for order in orders]
