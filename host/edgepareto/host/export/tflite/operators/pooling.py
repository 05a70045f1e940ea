"""Pooling over windows and over everything."""

from __future__ import annotations

import math

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.operators.builtin import apply, number, reduced, shape_of, to_power, to_root
from edgepareto.host.export.tflite.operators.windows import Windows, as_image, pad_image, read_windows
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import int_attribute, ints_attribute

__all__ = ["pool_everything", "pool_windows"]


@converts("MaxPool", "AveragePool", "LpPool", floats=True)
def pool_windows(c: Conversion, node: onnx.NodeProto) -> None:
    if len(node.output) > 1 and node.output[1]:
        raise Unsupported("MaxPool with indices as a second output")
    in_shape, out_shape = c.shape(node.input[0]), c.shape(node.output[0])
    kernel = ints_attribute(node, "kernel_shape") or []
    windows = read_windows(node, kernel, in_shape[2:], out_shape[2:])
    if any(step != 1 for step in windows.dilation):
        raise Unsupported(f"{node.op_type} with dilation")
    if len(kernel) == 1:
        windows = windows.with_axis()
    image = as_image(c, node.input[0])
    out_image = (out_shape[0], *((1,) if len(kernel) == 1 else ()), *out_shape[2:], out_shape[1])
    pool = {"MaxPool": _largest, "AveragePool": _mean, "LpPool": _norm}[node.op_type]
    made = pool(c, node, image, windows, out_image)
    if len(kernel) == 1:
        made = c.reshaped(made, (out_shape[0], out_shape[2], out_shape[1]))
    c.give_channels_last(node.output[0], made)


def _largest(c: Conversion, node: onnx.NodeProto, image: int, windows: Windows, out: tuple[int, ...]) -> int:
    padding = windows.word(shape_of(c, image)[1:3], out[1:3])
    if padding is None:
        # After a ReLU nothing is below zero, and PAD is what delegates fuse.
        lowest = None if _is_never_negative(c, image) else float(np.finfo(np.float32).min)
        image, padding = pad_image(c, image, windows, lowest), schema.Padding.VALID
    del node
    return _pooled(c, "MAX_POOL_2D", image, windows, out, padding)


def _mean(c: Conversion, node: onnx.NodeProto, image: int, windows: Windows, out: tuple[int, ...]) -> int:
    sizes = shape_of(c, image)[1:3]
    padding = windows.word(sizes, out[1:3])
    counts_padding = int_attribute(node, "count_include_pad", 0) == 1
    if padding is not None and (padding == schema.Padding.VALID or not counts_padding):
        return _pooled(c, "AVERAGE_POOL_2D", image, windows, out, padding)
    scale = _share_of_real(windows, sizes, out[1:3], counts_padding=counts_padding, node=node)
    made = _pooled(c, "AVERAGE_POOL_2D", pad_image(c, image, windows), windows, out, schema.Padding.VALID)
    return made if (scale == 1).all() else apply(c, "MUL", made, c.weights(scale, f"{node.output[0]}_share"))


def _norm(c: Conversion, node: onnx.NodeProto, image: int, windows: Windows, out: tuple[int, ...]) -> int:
    """The p-th root of a window's sum of p-th powers, to which padding adds nothing."""
    p = int_attribute(node, "p", 2)
    powers = to_power(c, pad_image(c, image, windows), p)
    mean = _pooled(c, "AVERAGE_POOL_2D", powers, windows, out, schema.Padding.VALID)
    return to_root(c, apply(c, "MUL", mean, number(c, math.prod(windows.kernel))), p)


def _pooled(c: Conversion, code: str, image: int, windows: Windows, out: tuple[int, ...], padding: int) -> int:
    options = schema.Pool2DOptionsT()
    options.padding = padding
    options.filterHeight, options.filterWidth = windows.kernel
    options.strideH, options.strideW = windows.stride
    return c.compute(code, [image], out, "float32", options)


@converts("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", floats=True)
def pool_everything(c: Conversion, node: onnx.NodeProto) -> None:
    image = c.channels_last(node.input[0])
    axes = range(1, len(c.shape(node.input[0])) - 1)
    if node.op_type == "GlobalLpPool":
        p = int_attribute(node, "p", 2)
        made = to_root(c, reduced(c, "SUM", to_power(c, image, p), axes), p)
    else:
        made = reduced(c, "MEAN" if node.op_type == "GlobalAveragePool" else "REDUCE_MAX", image, axes)
    c.give_channels_last(node.output[0], made)


def _share_of_real(
    windows: Windows, sizes: tuple[int, ...], out: tuple[int, ...], *, counts_padding: bool, node: onnx.NodeProto
) -> np.ndarray:
    """(1, H, W, 1): what a window's mean with zeros for padding is to be multiplied with.

    ONNX leaves out what it only pads to round the number of windows up (ceil_mode), even where padding counts.
    """
    per_axis = []
    pads = ints_attribute(node, "pads") or [0] * (2 * len(windows.kernel))
    explicit = pads[len(pads) // 2 :]
    ends = [0] * (len(windows.kernel) - len(explicit)) + list(explicit)
    for axis, kernel in enumerate(windows.kernel):
        starts = np.arange(out[axis]) * windows.stride[axis] - windows.before[axis]
        if counts_padding:
            low, high = -windows.before[axis], sizes[axis] + ends[axis]
        else:
            low, high = 0, sizes[axis]
        counted = np.minimum(starts + kernel, high) - np.maximum(starts, low)
        per_axis.append(kernel / counted)
    height, width = per_axis
    return (height[:, None] * width[None, :])[None, :, :, None].astype(np.float32)


def _is_never_negative(c: Conversion, image: int) -> bool:
    made = c.made_by(image)
    if made is None:
        return False
    fused = getattr(made.builtinOptions, "fusedActivationFunction", 0)
    activation = schema.ActivationFunctionType
    return fused in (activation.RELU, activation.RELU6) or c.code_of(made) in ("RELU", "RELU6")
