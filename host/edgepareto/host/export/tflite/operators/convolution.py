"""Conv: plain, depthwise, grouped; over images and rows."""

from __future__ import annotations

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Conversion
from edgepareto.host.export.tflite.operators.windows import as_image, pad_image, read_windows
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.pruning.normal_form import int_attribute

__all__ = ["convolve"]


@converts("Conv", floats=True)
def convolve(c: Conversion, node: onnx.NodeProto) -> None:
    weight = c.need_constant(node, 1, "weight")
    out_shape, in_shape = c.shape(node.output[0]), c.shape(node.input[0])
    windows = read_windows(node, weight.shape[2:], in_shape[2:], out_shape[2:])
    is_row = weight.ndim == 3
    if is_row:
        weight, windows = weight[:, :, None], windows.with_axis()
    group, channels, filters = int_attribute(node, "group", 1), in_shape[1], weight.shape[0]
    image = as_image(c, node.input[0])
    out_image = (out_shape[0], *((1, out_shape[2]) if is_row else out_shape[2:]), filters)
    padding = windows.word(c.flat.tensors[image].shape[1:3], out_image[1:3])
    if padding is None:
        image, padding = pad_image(c, image, windows), schema.Padding.VALID
    bias = c.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if bias is None:
        bias = np.zeros(filters, np.float32)
    depthwise = group == channels and group > 1
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = padding
    options.strideH, options.strideW = windows.stride
    options.dilationHFactor, options.dilationWFactor = windows.dilation
    if depthwise:
        options.depthMultiplier = filters // group
        kernel = c.weights(weight.transpose(1, 2, 3, 0).reshape(1, *weight.shape[2:], filters), node.input[1])
        code = "DEPTHWISE_CONV_2D"
    else:
        kernel = c.weights(weight.transpose(0, 2, 3, 1), node.input[1])
        code = "CONV_2D"
    made = c.compute(code, [image, kernel, c.weights(bias, f"{node.output[0]}_bias")], out_image, "float32", options)
    if is_row:
        made = c.reshaped(made, (out_shape[0], out_shape[2], filters))
    c.give_channels_last(node.output[0], made)
