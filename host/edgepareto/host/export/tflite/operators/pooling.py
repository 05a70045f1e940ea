"""Pooling over windows and over everything."""

from __future__ import annotations

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.operators.windows import Windows, as_image, pad_image, read_windows
from edgepareto.host.export.tflite.placement import channels_last
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import int_attribute, ints_attribute

__all__ = ["pool_everything", "pool_windows"]


@converts("MaxPool", "AveragePool")
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
    sizes = c.flat.tensors[image].shape[1:3]
    padding = windows.word(sizes, out_image[1:3])
    is_max = node.op_type == "MaxPool"
    counts_padding = not is_max and int_attribute(node, "count_include_pad", 0) == 1
    scale = None
    if padding is None or (counts_padding and padding == schema.Padding.SAME):
        padding = schema.Padding.VALID
        scale = (
            None if is_max else _share_of_real(windows, sizes, out_image[1:3], counts_padding=counts_padding, node=node)
        )
        # After a ReLU nothing is below zero, and PAD is what delegates fuse.
        lowest = float(np.finfo(np.float32).min) if is_max and not _is_never_negative(c, image) else None
        image = pad_image(c, image, windows, lowest)
    options = schema.Pool2DOptionsT()
    options.padding = padding
    options.filterHeight, options.filterWidth = windows.kernel
    options.strideH, options.strideW = windows.stride
    code = "MAX_POOL_2D" if is_max else "AVERAGE_POOL_2D"
    made = c.compute(code, [image], out_image, "float32", options)
    if scale is not None and not (scale == 1).all():
        made = c.compute(
            "MUL", [made, c.weights(scale, f"{node.output[0]}_share")], out_image, "float32", schema.MulOptionsT()
        )
    if len(kernel) == 1:
        made = c.reshaped(made, (out_shape[0], out_shape[2], out_shape[1]))
    c.give_channels_last(node.output[0], made)


@converts("GlobalAveragePool", "GlobalMaxPool")
def pool_everything(c: Conversion, node: onnx.NodeProto) -> None:
    shape, out_shape = c.shape(node.input[0]), c.shape(node.output[0])
    order = channels_last(len(shape))
    axes = c.flat.constant(np.arange(1, len(shape) - 1, dtype=np.int32), "axes")
    options = schema.ReducerOptionsT()
    options.keepDims = True
    code = "MEAN" if node.op_type == "GlobalAveragePool" else "REDUCE_MAX"
    stored = [out_shape[axis] for axis in order]
    made = c.compute(code, [c.channels_last(node.input[0]), axes], stored, "float32", options)
    c.give_channels_last(node.output[0], made)


def _share_of_real(
    windows: Windows, sizes: list[int], out: tuple[int, ...], *, counts_padding: bool, node: onnx.NodeProto
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
