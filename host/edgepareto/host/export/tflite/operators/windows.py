"""Sliding windows: ONNX pads by numbers, TFLite by the words SAME and VALID; what neither says is padded before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import ints_attribute, text_attribute

__all__ = ["Windows", "as_image", "pad_image", "read_windows"]

Padding = schema.Padding


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Per spatial axis. before, after: what is padded; after may be negative, where windows leave the last ones out."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def word(self, sizes: Sequence[int], out: Sequence[int]) -> int | None:
        """Padding.SAME or VALID where one of them says the same, else None."""
        if not any(self.before) and all(after <= 0 for after in self.after):
            return int(Padding.VALID)
        for axis, size in enumerate(sizes):
            reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1
            total = max((out[axis] - 1) * self.stride[axis] + reach - size, 0)
            if out[axis] != -(-size // self.stride[axis]):
                return None
            if (self.before[axis], self.after[axis]) != (total // 2, total - total // 2):
                return None
        return int(Padding.SAME)

    def with_axis(self) -> Windows:
        """The same over an image of height 1, of one over a row."""
        return Windows(
            kernel=(1, *self.kernel), stride=(1, *self.stride), dilation=(1, *self.dilation),
            before=(0, *self.before), after=(0, *self.after),
        )  # fmt: skip


def read_windows(node: onnx.NodeProto, kernel: Sequence[int], sizes: Sequence[int], out: Sequence[int]) -> Windows:
    """sizes, out: spatial, of input and output. What the output's size says decides how much is padded at the end."""
    rank = len(kernel)
    if rank not in (1, 2):
        raise Unsupported(f"{node.op_type} over {rank} axes, 1 or 2 are possible")
    stride = ints_attribute(node, "strides") or [1] * rank
    dilation = ints_attribute(node, "dilations") or [1] * rank
    needed = [
        (out[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - sizes[axis] for axis in range(rank)
    ]
    auto = text_attribute(node, "auto_pad", "NOTSET")
    if auto == "SAME_UPPER":
        before = [max(total, 0) // 2 for total in needed]
    elif auto == "SAME_LOWER":
        before = [-(-max(total, 0) // 2) for total in needed]
    else:
        before = (ints_attribute(node, "pads") or [0] * (2 * rank))[:rank]
    return Windows(
        kernel=tuple(kernel),
        stride=tuple(stride),
        dilation=tuple(dilation),
        before=tuple(before),
        after=tuple(total - start for total, start in zip(needed, before, strict=True)),
    )


def as_image(c: Conversion, name: str) -> int:
    """The tensor as NHWC; a row (N, C, W) as an image of height 1."""
    shape = c.shape(name)
    tensor = c.channels_last(name)
    return tensor if len(shape) == 4 else c.reshaped(tensor, (shape[0], 1, shape[2], shape[1]))


def pad_image(c: Conversion, image: int, windows: Windows, value: float | None = None) -> int:
    """NHWC, padded with `value`; None: with zeros."""
    sizes = list(c.flat.tensors[image].shape)
    amounts = [(0, 0), *((b, max(a, 0)) for b, a in zip(windows.before, windows.after, strict=True)), (0, 0)]
    padded = [size + sum(amount) for size, amount in zip(sizes, amounts, strict=True)]
    table = c.flat.constant(np.array(amounts, np.int32), "pads")
    dtype = c.dtype_of(image)
    if value is None:
        return c.compute("PAD", [image, table], padded, dtype, schema.PadOptionsT())
    filler = c.flat.constant(np.array([value], dtype), "filler")
    return c.compute("PADV2", [image, table, filler], padded, dtype, schema.PadV2OptionsT())
