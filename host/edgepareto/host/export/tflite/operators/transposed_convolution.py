"""ConvTranspose. TFLite's has neither groups nor dilations: groups come one by one, a dilated kernel has zeros."""

from __future__ import annotations

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from edgepareto.host.export.tflite.conversion import Array, Conversion
from edgepareto.host.export.tflite.operators.windows import as_image
from edgepareto.host.export.tflite.registry import converts
from edgepareto.host.export.tflite.unsupported import Unsupported
from edgepareto.host.pruning.normal_form import int_attribute, ints_attribute, text_attribute

__all__ = ["convolve_transposed"]


@converts("ConvTranspose", floats=True)
def convolve_transposed(c: Conversion, node: onnx.NodeProto) -> None:
    weight = c.need_constant(node, 1, "weight")
    in_shape, out_shape = c.shape(node.input[0]), c.shape(node.output[0])
    rank = weight.ndim - 2
    if rank not in (1, 2):
        raise Unsupported(f"ConvTranspose over {rank} axes, 1 or 2 are possible")
    stride = ints_attribute(node, "strides") or [1] * rank
    dilation = ints_attribute(node, "dilations") or [1] * rank
    weight = _dilated(weight, dilation)
    before = _cut_before(node, in_shape[2:], out_shape[2:], weight.shape[2:], stride)
    sizes_in, sizes_out = in_shape[2:], out_shape[2:]
    if rank == 1:
        weight, stride, before = weight[:, :, None], [1, *stride], [0, *before]
        sizes_in, sizes_out = (1, *sizes_in), (1, *sizes_out)
    # All that the windows reach; what ONNX cuts off is sliced away, what it adds at the end is zero and then biased.
    whole = [(n - 1) * s + k for n, s, k in zip(sizes_in, stride, weight.shape[2:], strict=True)]
    group = int_attribute(node, "group", 1)
    image = as_image(c, node.input[0])
    bias = c.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    filters = weight.shape[1] * group
    if bias is None:
        bias = np.zeros(filters, np.float32)
    ends = [b + n for b, n in zip(before, sizes_out, strict=True)]
    whole = [max(pair) for pair in zip(whole, ends, strict=True)]
    parts = []
    for number, share in enumerate(_shares(c, image, group)):
        rows = weight.shape[0] // group
        kernel = weight[number * rows : (number + 1) * rows].transpose(1, 2, 3, 0)
        own_bias = bias[number * weight.shape[1] : (number + 1) * weight.shape[1]]
        parts.append(_one(c, share, kernel, own_bias, whole, stride, node.output[0]))
    made = parts[0]
    if group > 1:
        options = schema.ConcatenationOptionsT()
        options.axis = 3
        made = c.compute("CONCATENATION", parts, (in_shape[0], *whole, filters), "float32", options)
    if whole != list(sizes_out):
        begin = c.flat.constant(np.array([0, *before, 0], np.int32), "begin")
        size = c.flat.constant(np.array([in_shape[0], *sizes_out, filters], np.int32), "size")
        shape = (in_shape[0], *sizes_out, filters)
        made = c.compute("SLICE", [made, begin, size], shape, "float32", schema.SliceOptionsT())
    if rank == 1:
        made = c.reshaped(made, (in_shape[0], out_shape[2], filters))
    c.give_channels_last(node.output[0], made)


def _one(c: Conversion, image: int, kernel: Array, bias: Array, whole: list[int], stride: list[int], name: str) -> int:
    shape = (c.flat.tensors[image].shape[0], *whole, kernel.shape[0])
    options = schema.TransposeConvOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH, options.strideW = stride
    wanted = c.flat.constant(np.array(shape, np.int32), "shape")
    inputs = [wanted, c.weights(kernel, f"{name}_weight"), image, c.weights(bias, f"{name}_bias")]
    return c.compute("TRANSPOSE_CONV", inputs, shape, "float32", options, version=3)


def _shares(c: Conversion, image: int, group: int) -> list[int]:
    if group == 1:
        return [image]
    shape = list(c.flat.tensors[image].shape)
    shares = [
        c.flat.tensor(f"share_{len(c.flat.tensors)}", [*shape[:3], shape[3] // group], "float32") for _ in range(group)
    ]
    options = schema.SplitOptionsT()
    options.numSplits = group
    c.flat.operator("SPLIT", [c.flat.constant(np.array(3, np.int32), "axis"), image], shares, options)
    return shares


def _dilated(weight: Array, dilation: list[int]) -> Array:
    if all(step == 1 for step in dilation):
        return weight
    sizes = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    wide = np.zeros((*weight.shape[:2], *sizes), weight.dtype)
    every = slice(None)
    places = (every, every, *(slice(None, None, step) for step in dilation))
    wide[places] = weight
    return wide


def _cut_before(
    node: onnx.NodeProto, sizes: tuple[int, ...], out: tuple[int, ...], kernel: tuple[int, ...], stride: list[int]
) -> list[int]:
    """What ONNX cuts off at the beginning of each axis."""
    rank = len(sizes)
    auto = text_attribute(node, "auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID") and ints_attribute(node, "output_shape") is None:
        return (ints_attribute(node, "pads") or [0] * (2 * rank))[:rank]
    extra = ints_attribute(node, "output_padding") or [0] * rank
    total = [
        stride[i] * (sizes[i] - 1) + extra[i] + kernel[i] - out[i] for i in range(rank)
    ]  # of the operator's definition, ConvTranspose-11
    return [cut // 2 if auto == "SAME_UPPER" else -(-cut // 2) for cut in total]
