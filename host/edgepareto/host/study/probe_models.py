"""The tiny models of a step probe: one kernel that dominates, as many output channels as asked for."""

from __future__ import annotations

import numpy as np
import onnx
from edgepareto.host.domain.learned_steps import KernelKind
from onnx import TensorProto, helper, numpy_helper

__all__ = ["input_shape", "probe_model"]

# Of the feature maps: milliseconds on a small board, and weights that stay in any cache.
SIDE = {KernelKind.CONV_3X3: 32, KernelKind.POINTWISE: 64, KernelKind.DEPTHWISE: 32}
DEPTHWISE_LAYERS = 4  # one alone is as cheap as making its input
# Input channels: a multiple of what kernels pack, and few in a 1x1 convolution, where reading them takes longer than
# the arithmetic of a few output channels: what is bound by memory shows no step.
CHANNELS_IN = {KernelKind.CONV_3X3: 32, KernelKind.POINTWISE: 16, KernelKind.DEPTHWISE: 1}
OPSET, IR_VERSION = 13, 7  # old enough for any runtime


def input_shape(kind: KernelKind) -> tuple[int, ...]:
    """Of the only input, `x`: the same for every number of channels, so that all models of a kind share a batch."""
    return (1, CHANNELS_IN[kind], SIDE[kind], SIDE[kind])


def probe_model(kind: KernelKind, channels: int) -> onnx.ModelProto:
    """x -> y with `channels` channels. Deterministic."""
    random = np.random.default_rng(channels)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def weights(name: str, *shape: int) -> str:
        values = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    if kind is KernelKind.DEPTHWISE:
        tensors.append(numpy_helper.from_array(np.array([1, channels, 1, 1], dtype=np.int64), "shape"))
        nodes.append(helper.make_node("Expand", ["x", "shape"], ["c0"], name="expand"))
        for layer in range(DEPTHWISE_LAYERS):
            read, made = [f"c{layer}", weights(f"w{layer}", channels, 1, 3, 3)], f"c{layer + 1}"
            name = f"depthwise{layer}"
            nodes.append(helper.make_node("Conv", read, [made], name=name, group=channels, pads=[1, 1, 1, 1]))
    else:
        side, pad = (3, 1) if kind is KernelKind.CONV_3X3 else (1, 0)
        read = ["x", weights("w", channels, CHANNELS_IN[kind], side, side)]
        nodes.append(helper.make_node("Conv", read, ["c1"], name="conv", pads=[pad] * 4))
    # Between layers a runtime keeps its own blocked layout: turning a whole output back would be no part of a network.
    nodes.append(helper.make_node("GlobalAveragePool", [nodes[-1].output[0]], ["y"], name="pool"))
    shapes = {"x": input_shape(kind), "y": (1, channels, 1, 1)}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in shapes.items())
    graph = helper.make_graph(nodes, f"{kind.value}_{channels}", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
