"""What moves values and computes none, and the whole numbers that say whereto."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from edgepareto.host.distil.node import Node, Tensor
from edgepareto.host.distil.operators.padding import pad as padded
from edgepareto.host.distil.registry import computes
from edgepareto.host.distil.unsupported import Unsupported
from onnx import numpy_helper

__all__ = [
    "concat",
    "constant",
    "constant_of_shape",
    "count",
    "depth_to_space",
    "expand",
    "flatten",
    "measure",
    "numbers",
    "pad",
    "reshape",
    "space_to_depth",
    "split",
    "squeeze",
    "tile",
    "transpose",
    "unsqueeze",
]

PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def numbers(node: Node, inputs: Sequence[Tensor], position: int, name: str) -> list[int] | None:
    """Whole numbers that are an input in newer opsets and were an attribute; None where neither is given."""
    if len(inputs) > position and inputs[position] is not None:
        return [int(value) for value in inputs[position].reshape(-1).tolist()]
    found = node.get(name)
    return None if found is None else [found] if isinstance(found, int) else list(found)


@computes("Constant")
def constant(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (name,) = node.attributes
    value = node.get(name)
    if name == "value":
        return torch.from_numpy(numpy_helper.to_array(value).copy())
    if name not in ("value_int", "value_ints", "value_float", "value_floats"):
        raise Unsupported(f"Constant with {name}")
    return torch.tensor(value, dtype=torch.int64 if "int" in name else torch.float32)


@computes("Shape")
def measure(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.tensor(inputs[0].shape[node.get("start", 0) : node.get("end")], dtype=torch.int64)


@computes("Size")
def count(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.tensor(inputs[0].numel(), dtype=torch.int64)


@computes("ConstantOfShape")
def constant_of_shape(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    value = node.get("value")
    filled = torch.zeros(1) if value is None else torch.from_numpy(numpy_helper.to_array(value).copy())
    return filled.reshape(()).expand(inputs[0].tolist())


@computes("Reshape")
def reshape(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, target = inputs
    keeps_zero = node.get("allowzero", 0)
    sizes = [data.shape[axis] if size == 0 and not keeps_zero else size for axis, size in enumerate(target.tolist())]
    return data.reshape(sizes)


@computes("Flatten")
def flatten(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    axis = node.get("axis", 1)
    axis = axis + data.dim() if axis < 0 else axis
    return data.reshape(data.shape[:axis].numel(), -1)


@computes("Squeeze")
def squeeze(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    axes = numbers(node, inputs, 1, "axes")
    return inputs[0].squeeze() if axes is None else inputs[0].squeeze(tuple(axes))


@computes("Unsqueeze")
def unsqueeze(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, axes = inputs[0], numbers(node, inputs, 1, "axes") or []
    rank = data.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        data = data.unsqueeze(axis)
    return data


@computes("Transpose")
def transpose(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    return data.permute(node.get("perm", list(reversed(range(data.dim())))))


@computes("Expand")
def expand(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, target = inputs
    return data.expand(torch.broadcast_shapes(data.shape, target.tolist()))


@computes("Tile")
def tile(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0].repeat(inputs[1].tolist())


@computes("Concat")
def concat(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(inputs), node.get("axis"))


@computes("Split")
def split(node: Node, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    data, axis, parts = inputs[0], node.get("axis", 0), len(node.outputs)
    sizes = numbers(node, inputs, 1, "split")
    if sizes is None:  # equal parts, the last one smaller
        sizes = [-(-data.shape[axis] // parts)] * (parts - 1)
        sizes.append(data.shape[axis] - sum(sizes))
    found: tuple[Tensor, ...] = data.split(sizes, axis)
    return found


@computes("Pad")
def pad(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, value = inputs[0], node.get("value", 0.0)
    given = numbers(node, inputs, 1, "pads") or []
    if len(inputs) > 2 and inputs[2] is not None:
        value = inputs[2].item()
    axes = numbers(node, inputs, 3, "axes") or list(range(data.dim()))
    mode = PAD_MODES.get(node.get("mode", "constant"))
    if mode is None:
        raise Unsupported(f"Pad with mode = {node.get('mode')}")
    pads = [(0, 0)] * data.dim()
    for place, axis in enumerate(axes):
        pads[axis] = (given[place], given[len(axes) + place])
    if mode == "constant":
        return padded(data, pads, value)
    outer = next((axis for axis, pair in enumerate(pads) if any(pair)), data.dim())
    if outer < 2 or not 3 <= data.dim() <= 5:
        raise Unsupported(f"Pad with mode = {node.get('mode')} of axis {outer} of {data.dim()}")
    return padded(data, pads[2:], mode=mode)


@computes("DepthToSpace")
def depth_to_space(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    rows, channels, height, width = data.shape
    size = node.get("blocksize")
    kept = channels // size**2
    if node.get("mode", "DCR") == "DCR":
        blocks = data.reshape(rows, size, size, kept, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        blocks = data.reshape(rows, kept, size, size, height, width).permute(0, 1, 4, 2, 5, 3)
    return blocks.reshape(rows, kept, height * size, width * size)


@computes("SpaceToDepth")
def space_to_depth(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    (data,) = inputs
    rows, channels, height, width = data.shape
    size = node.get("blocksize")
    blocks = data.reshape(rows, channels, height // size, size, width // size, size).permute(
        *((0, 3, 5, 1, 2, 4) if node.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4))
    )
    return blocks.reshape(rows, channels * size**2, height // size, width // size)
