"""One model on its way from ONNX to TFLite: where each tensor lies, and what an operator's converter may ask for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.flat_model import ELEMENT_TYPES, Array, FlatModel, Table
from edgepareto.host.export.tflite.placement import Order, Placed, channels_last, moves_nothing, plain
from edgepareto.host.export.tflite.unsupported import Unsupported

__all__ = ["Array", "Conversion"]

NARROWED = {"float64": "float32", "int64": "int32"}  # inside the file; TFLite's kernels take these


class Conversion:
    """constants: of the ONNX graph. shapes: of every tensor, all known. half: keep weights as 16-bit floats."""

    def __init__(
        self, model: onnx.ModelProto, constants: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]],
        types: Mapping[str, int], *, half: bool,
    ) -> None:  # fmt: skip
        self.flat = FlatModel()
        self.opset = next(e.version for e in model.opset_import if e.domain in ("", "ai.onnx"))
        self.constants = dict(constants)
        self.shapes = shapes
        self.readers = Counter(name for node in model.graph.node for name in node.input)
        self.readers.update(value.name for value in model.graph.output)
        self.outputs = {value.name for value in model.graph.output}
        self._types = types
        self._half = half
        self._placed: dict[str, Placed] = {}
        self._moved: dict[tuple[int, Order], int] = {}
        self._widened: dict[int, int] = {}
        self._made_by: dict[int, Table] = {}
        self._flattened: dict[str, Placed] = {}
        self._shared: dict[str, int] = {}
        self._names: defaultdict[int, list[str]] = defaultdict(list)

    # ---- what an operator reads

    def constant(self, name: str) -> Array | None:
        return self.constants.get(name)

    def need_constant(self, node: onnx.NodeProto, position: int, what: str) -> Array:
        """Raises Unsupported where it is computed."""
        value = self.constants.get(node.input[position])
        if value is None:
            raise Unsupported(f"{node.op_type} whose {what} is computed")
        return value

    def shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def dtype(self, name: str) -> str:
        """As the file has it."""
        found = str(onnx.helper.tensor_dtype_to_np_dtype(self._types[name]).name)
        return NARROWED.get(found, found)

    def placed(self, name: str) -> Placed:
        """As it lies; a constant as ONNX has it."""
        if name not in self._placed:
            value = self.constants[name]
            self._placed[name] = Placed(tensor=self.weights(value, name), shape=value.shape, order=plain(value.ndim))
        return self._placed[name]

    def ordered(self, name: str, order: Order) -> int:
        """The tensor in that order of its axes; moved where it lies in another."""
        if name in self.constants:
            value = self.constants[name].transpose(order)
            return self.weights(value, f"{name}_{''.join(map(str, order))}" if order != plain(len(order)) else name)
        return self.moved(self.placed(name), order).tensor

    def plain(self, name: str) -> int:
        return self.ordered(name, plain(len(self.shapes[name])))

    def channels_last(self, name: str) -> int:
        return self.ordered(name, channels_last(len(self.shapes[name])))

    def moved(self, placed: Placed, order: Order) -> Placed:
        """The same tensor in another order, made once."""
        if placed.order == order:
            return placed
        permutation = tuple(placed.order.index(axis) for axis in order)
        key = (placed.tensor, permutation)  # not the order: a tensor may lie under several names
        if key not in self._moved:
            stored = [placed.shape[axis] for axis in order]
            if moves_nothing(placed.shape, placed.order, order):
                self._moved[key] = self.reshaped(placed.tensor, stored)
            else:
                table = self.flat.constant(np.array(permutation, np.int32), "order")
                self._moved[key] = self.compute(
                    "TRANSPOSE",
                    [placed.tensor, table],
                    stored,
                    self.dtype_of(placed.tensor),
                    schema.TransposeOptionsT(),
                )
        return Placed(tensor=self._moved[key], shape=placed.shape, order=order)

    def common_order(self, names: Sequence[str]) -> Order:
        """In which several tensors of one rank are best computed together: that of the largest that is computed."""
        computed = [self.placed(name) for name in names if name not in self.constants]
        rank = max(len(self.shapes[name]) for name in names)
        full = [placed for placed in computed if len(placed.shape) == rank]
        if not full:
            return plain(rank)
        sizes = {
            order: sum(int(np.prod(p.shape)) for p in full if p.order == order) for order in {p.order for p in full}
        }
        return max(sizes, key=lambda order: (sizes[order], order == channels_last(rank), order))

    def in_rank(self, name: str, order: Order) -> int:
        """In that order, with leading axes of size 1 where its rank is lower: to be broadcast."""
        shape, rank = self.shapes[name], len(order)
        if len(shape) == rank:
            return self.ordered(name, order)
        full = (1,) * (rank - len(shape)) + tuple(shape)
        value = self.constants.get(name)
        if value is not None:
            if value.ndim == 0:
                return self.weights(value, name)
            return self.weights(value.reshape(full).transpose(order), f"{name}_broadcast")
        if not shape:
            return self.plain(name)
        raised = self.reshaped(self.plain(name), full)
        return self.moved(Placed(tensor=raised, shape=full, order=plain(rank)), order).tensor

    def weights(self, value: Array, name: str) -> int:
        """A constant in the file; as 16-bit floats and made 32-bit ones again where weights are kept so."""
        if value.dtype.name in NARROWED:
            value = _narrowed(value)
        if not (self._half and value.dtype == np.float32 and value.size > 1):
            return self.flat.constant(value, name)
        largest = float(np.finfo(np.float16).max)
        packed = self.flat.constant(np.clip(value, -largest, largest).astype(np.float16), f"{name}_fp16")
        if packed not in self._widened:
            options = schema.DequantizeOptionsT()
            self._widened[packed] = self.compute("DEQUANTIZE", [packed], value.shape, "float32", options, version=3)
        return self._widened[packed]

    def shared_weights(self, value: Array, name: str) -> int:
        """The same tensor each time, for a constant that one node reads at several steps."""
        if name not in self._shared:
            self._shared[name] = self.weights(value, name)
        return self._shared[name]

    # ---- what it writes

    def compute(
        self, code: str, inputs: Sequence[int], stored: Sequence[int], dtype: str, options: Table = None, *,
        name: str = "", version: int = 1,
    ) -> int:  # fmt: skip
        """An operator with one output, whose number is returned. stored: its shape in the file."""
        made = self.flat.tensor(name or f"{code.lower()}_{len(self.flat.tensors)}", stored, dtype)
        self._made_by[made] = self.flat.operator(code, inputs, [made], options, version=version)
        return made

    def made_by_nobody(self, tensor: int) -> bool:
        """Whether it is an input or a constant."""
        return all(tensor not in operator.outputs for operator in self.flat.operators)

    def made_by(self, tensor: int) -> Table:
        """The operator whose only output it is, or None."""
        return self._made_by.get(tensor)

    def may_change(self, tensor: int) -> bool:
        """Whether the operator that makes it may take over what comes behind: it has but one reader by any name."""
        return all(self.only_reader(name) for name in self._names[tensor])

    def code_of(self, operator: Table) -> str:
        return self.flat.code_of(operator)

    def dtype_of(self, tensor: int) -> str:
        return self.flat.dtypes[tensor]

    def element_type(self, dtype: str) -> int:
        return int(ELEMENT_TYPES[dtype])

    def reshaped(self, tensor: int, shape: Sequence[int]) -> int:
        if list(self.flat.tensors[tensor].shape) == list(shape):
            return tensor
        return self.reshaped_copy(tensor, shape)

    def reshaped_copy(self, tensor: int, shape: Sequence[int]) -> int:
        """A tensor of its own, also where the shape is the same."""
        made = self._made_by.get(tensor)
        if made is not None and self.code_of(made) == "RESHAPE":
            tensor = made.inputs[0]
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        wanted = self.flat.constant(np.array(shape, np.int32), "shape")
        return self.compute("RESHAPE", [tensor, wanted], shape, self.dtype_of(tensor), options)

    def give(self, name: str, tensor: int, order: Order) -> None:
        """`tensor` is what the ONNX graph calls `name`, its axes in that order."""
        self._placed[name] = Placed(tensor=tensor, shape=self.shapes[name], order=order)
        self._names[tensor].append(name)
        if tensor in self._made_by:
            self.flat.tensors[tensor].name = name

    def give_channels_last(self, name: str, tensor: int) -> None:
        self.give(name, tensor, channels_last(len(self.shapes[name])))

    def give_plain(self, name: str, tensor: int) -> None:
        self.give(name, tensor, plain(len(self.shapes[name])))

    def stored(self, name: str, order: Order) -> tuple[int, ...]:
        return tuple(self.shapes[name][axis] for axis in order)

    def only_reader(self, name: str) -> bool:
        """Whether one node alone reads it, and nobody outside."""
        return self.readers[name] == 1 and name not in self.outputs

    def rearranged(self, placed: Placed, order: Order, stored: Sequence[int]) -> int:
        """In that order, and then of that shape in the file."""
        return self.reshaped(self.moved(placed, order).tensor, stored)

    # ---- flattened tensors, whose order a matrix of weights can take over

    def remember_flattened(self, name: str, source: Placed) -> None:
        self._flattened[name] = source

    def flattened(self, name: str) -> Placed | None:
        return self._flattened.get(name)


def _narrowed(value: Array) -> Array:
    """What no 32-bit integer can hold is a bound that means 'to the end', and stays one."""
    if value.dtype == np.int64:
        limits = np.iinfo(np.int32)
        return np.clip(value, limits.min, limits.max).astype(np.int32)
    return value.astype(np.float32)
