"""MobileNetV2 and ResNet-18 at 224 x 224 as torch's exporter writes them in evaluation mode, without torch.

Normalisations are in the layers, weights by chance with a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["NETS"]

# Sandler et al., MobileNetV2 (2018), table 2: expansion, channels, blocks, stride of the first
MOBILENET_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# He et al., Deep Residual Learning (2015), table 1: channels, stride of the first; two blocks each
RESNET_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
CLASSES = 1000
OPSET = 17
SEED = 9


class _Graph:
    """Nodes one after the other; a value is its name and how many channels it has."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(SEED)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def convolution(
        self, x: str, channels: tuple[int, int], kernel: int, *, stride: int = 1, groups: int = 1, then: str = ""
    ) -> str:
        inputs, outputs = channels
        shape = (outputs, inputs // groups, kernel, kernel)
        pad, window = [kernel // 2] * 4, {"kernel_shape": [kernel] * 2, "strides": [stride] * 2}
        made = self.node("Conv", x, self._weight(shape), self._weight((outputs,)), group=groups, pads=pad, **window)
        if then == "Clip":
            return self.node("Clip", made, self._constant(0.0), self._constant(6.0))
        return self.node(then, made) if then else made

    def node(self, kind: str, *inputs: str, **attributes: int | Sequence[int]) -> str:
        made = f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [made], **attributes))
        return made

    def classifier(self, x: str, channels: int) -> onnx.ModelProto:
        mean = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        weights = self._weight((CLASSES, channels)), self._weight((CLASSES,))
        logits = self.node("Gemm", mean, *weights, transB=1)
        ends = [("image", (1, 3, 224, 224)), (logits, (1, CLASSES))]
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]
        graph = helper.make_graph(self._nodes, "net", values[:1], values[1:], self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)

    def _weight(self, shape: tuple[int, ...]) -> str:
        """As He et al. begin to train, so that signals keep their size."""
        scale = np.sqrt(2 / np.prod(shape[1:]), dtype=np.float32) if len(shape) > 1 else np.float32(0.1)
        return self._keep(self._random.standard_normal(shape, np.float32) * scale)

    def _constant(self, value: float) -> str:
        return self._keep(np.array(value, np.float32))

    def _keep(self, value: np.ndarray) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name


def mobilenet_v2() -> onnx.ModelProto:
    net = _Graph()
    x, channels = net.convolution("image", (3, 32), 3, stride=2, then="Clip"), 32
    for expansion, outputs, count, first_stride in MOBILENET_STAGES:
        for number in range(count):
            stride, hidden = (1 if number else first_stride), channels * expansion
            y = net.convolution(x, (channels, hidden), 1, then="Clip") if expansion > 1 else x
            y = net.convolution(y, (hidden, hidden), 3, stride=stride, groups=hidden, then="Clip")
            y = net.convolution(y, (hidden, outputs), 1)
            x, channels = net.node("Add", x, y) if stride == 1 and channels == outputs else y, outputs
    return net.classifier(net.convolution(x, (channels, 1280), 1, then="Clip"), 1280)


def resnet18() -> onnx.ModelProto:
    net = _Graph()
    x = net.convolution("image", (3, 64), 7, stride=2, then="Relu")
    x, channels = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 64
    for outputs, first_stride in RESNET_STAGES:
        for stride in (first_stride, 1):
            y = net.convolution(x, (channels, outputs), 3, stride=stride, then="Relu")
            y = net.convolution(y, (outputs, outputs), 3)
            if stride != 1 or channels != outputs:
                x = net.convolution(x, (channels, outputs), 1, stride=stride)
            x, channels = net.node("Relu", net.node("Add", x, y)), outputs
    return net.classifier(x, channels)


NETS: dict[str, Callable[[], onnx.ModelProto]] = {"MobileNetV2, 224": mobilenet_v2, "ResNet-18, 224": resnet18}
