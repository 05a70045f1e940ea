"""What the rules of random networks draw from and write to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Builder", "Pick", "Rule", "Tensor"]

Pick = Callable[[int], int]  # n -> one of 0..n-1
Rule = Callable[["Builder", "Tensor"], "Tensor | list[Tensor]"]
OPSETS = (11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21)
SIDE = 6
WIDEST = 12  # of those that a new layer copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: int = TensorProto.FLOAT


class Builder:
    """pool: the live tensors, of rank 2 to 4. Weights come from a fixed seed."""

    def __init__(self, pick: Pick) -> None:
        self.pick = pick
        self.random = np.random.default_rng(0)
        self.opset = OPSETS[pick(len(OPSETS))]
        self.batch: int | str = ("batch", "batch", "batch", 1, 2)[pick(5)]
        self.rows = self.batch if isinstance(self.batch, int) else 3
        self.free, self.shares, self.writes_nodes = not pick(8), not pick(4), not pick(6)
        self.quiet = not self.shares  # a tensor that two read in another way is not zero for both
        self.sums = False
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}
        self.kernels: dict[tuple[int, ...], list[Tensor]] = {}  # of convolutions so far, for tied ones
        shapes = {"sequence": (5, 6)} if not pick(4) else {"image": (3, SIDE, SIDE)}
        if not pick(4):
            shapes["vector"] = (5,)
        if not pick(6):
            shapes["picture"] = (2, SIDE, SIDE)
        self.inputs = [Tensor(name=name, shape=(self.rows, *shape)) for name, shape in shapes.items()]
        self.pool = list(self.inputs)

    def recent(self) -> Tensor:
        """Any live tensor, mostly one of the last."""
        return self.pool[-1 - self.pick(1 + self.pick(1 + self.pick(len(self.pool))))]

    def one_of(self, *options: str) -> str:
        return options[self.pick(len(options))]

    def like(self, data: Tensor) -> Tensor:
        """Another tensor of the same shape, often an old one; or the same one."""
        same = [tensor for tensor in self.pool if tensor.shape == data.shape]
        return same[self.pick(len(same))] if same else data

    def width(self) -> int:
        """Often one that a live tensor has, so that two can meet."""
        widths = [tensor.shape[1] for tensor in self.pool[-4:] if tensor.shape[1] <= WIDEST]
        return widths[self.pick(len(widths))] if widths and self.pick(2) else 2 + self.pick(7)

    def axis(self, data: Tensor) -> int:
        """Not the batch; mostly the channels. Sometimes counted from the end, as operators allow."""
        axis = 1 if self.pick(4) else 1 + self.pick(len(data.shape) - 1)
        return axis if self.pick(3) else axis - len(data.shape)

    def constant(self, value: NDArray[np.generic] | Sequence[int] | float, dtype: str | None = None) -> Tensor:
        array = np.asarray(value)
        array = array.astype(dtype or (np.int64 if array.dtype.kind == "i" else np.float32))
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return Tensor(name=name, shape=array.shape, dtype=helper.np_dtype_to_tensor_dtype(array.dtype))

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Exporters store equal tensors once, so where this net shares, it is often one that others read too."""
        made = Tensor(name="", shape=shape)
        if self.shares and not self.pick(2):
            same = [Tensor(name=name, shape=shape) for name, value in self.constants.items() if value.shape == shape]
            floats = [tensor for tensor in same if self.constants[tensor.name].dtype.kind == "f"]
            made = floats[self.pick(len(floats))] if floats else made
        return made if made.name else self.constant(self.random.normal(size=shape) * scale)

    def positive(self, *shape: int) -> Tensor:
        return self.constant(self.random.uniform(0.5, 1.5, shape))

    def node(self, op: str, *inputs: Tensor, **attributes: object) -> Tensor:
        return self.nodes_outputs(op, inputs, 1, **attributes)[0]

    def nodes_outputs(self, op: str, inputs: Sequence[Tensor], count: int, **attributes: object) -> list[Tensor]:
        """Write the node; ONNX itself tells the shapes."""
        names = [f"{op.lower()}{len(self.nodes)}_{position}" for position in range(count)]
        node = helper.make_node(op, [part.name for part in inputs], names, name=f"{op}{len(self.nodes)}", **attributes)
        self.nodes.append(node)
        types = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(op, self.opset),
            node,
            {part.name: helper.make_tensor_type_proto(part.dtype, part.shape) for part in inputs if part.name},
            {p.name: numpy_helper.from_array(self.constants[p.name]) for p in inputs if p.name in self.constants},
            opset_imports=[helper.make_opsetid("", self.opset)],
        )
        made = [types[name].tensor_type for name in names]
        return [
            Tensor(name=name, shape=tuple(size.dim_value for size in of.shape.dim), dtype=of.elem_type)
            for name, of in zip(names, made, strict=True)
        ]

    def with_axes(self, op: str, data: Tensor, axes: list[int], since: int = 13, **attributes: object) -> Tensor:
        """axes: an attribute before opset `since`, an input from there on."""
        if self.opset < since:
            return self.node(op, data, axes=axes, **attributes)
        return self.node(op, data, self.constant(axes), **attributes)

    def reshaped(self, data: Tensor, *shape: int) -> Tensor:
        """shape: behind the batch. The target as exporters write it: copied, worked out, or computed from sizes."""
        target = [0, *shape]
        form = self.pick(5)
        if form == 1:
            target[1 + self.pick(len(shape))] = -1
        elif form == 2:
            target[0] = self.batch if isinstance(self.batch, int) else -1
        elif form > 2:
            copied = 2 if form == 4 and len(shape) > 1 and data.shape[1] == shape[0] else 1
            sizes = self.node("Gather", self.node("Shape", data), self.constant(list(range(copied))))
            target = target[copied:]
            if not self.pick(2):
                target[self.pick(len(target))] = -1
            sizes = self.node("Concat", sizes, self.constant(target), axis=0)
            return Tensor(name=self.node("Reshape", data, sizes).name, shape=(self.rows, *shape))
        return self.node("Reshape", data, self.constant(target))

    def model(self, outputs: Sequence[Tensor]) -> onnx.ModelProto:
        named = {tensor.name: f"out{number}" for number, tensor in enumerate(outputs)}
        for node in self.nodes:
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    names[position] = named.get(name, name)
        tensors = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        lifted = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in tensors]
        graph = helper.make_graph(
            [*lifted, *self.nodes] if self.writes_nodes else self.nodes,
            "net",
            [helper.make_tensor_value_info(part.name, TensorProto.FLOAT, self._declared(part)) for part in self.inputs],
            [
                helper.make_tensor_value_info(named[part.name], part.dtype, (self.batch, *part.shape[1:]))
                for part in outputs
            ],
            [] if self.writes_nodes else tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        model.metadata_props.add(key="labels", value="abc")
        return model

    def _declared(self, part: Tensor) -> tuple[int | str, ...]:
        free = self.free and len(part.shape) == 4
        return (self.batch, part.shape[1], "height", "width") if free else (self.batch, *part.shape[1:])
