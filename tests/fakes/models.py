"""Models small enough to be read whole: a linear classifier of 2 x 2 images, in the shapes that users bring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 3
PIXELS = 4


def classifier(batch: int | str = "N", side: Sequence[int | str] = (2, 2)) -> onnx.ModelProto:
    """Class k's logit is pixel k: x (batch, 1, 2, 2) float32 -> logits (batch, 3)."""
    weights = np.eye(PIXELS, CLASSES, dtype=np.float32)
    flatten = helper.make_node("Flatten", ["x"], ["pixels"], axis=1)
    product = helper.make_node("MatMul", ["pixels", "weights"], ["logits"])
    graph = helper.make_graph(
        [flatten, product],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, *side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def batchless() -> onnx.ModelProto:
    """x (3,) -> doubled (3,): no batch axis, a sample is the whole input."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["doubled"])],
        "doubler",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("doubled", TensorProto.FLOAT, [3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def convolution(channels: int = 8) -> onnx.ModelProto:
    """Two convolutions, a pool and a linear layer: x (N, 1, 6, 6) -> logits (N, 3); one group can be pruned."""
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)

    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Conv", ["b", "w2"], ["c"], name="second", pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", ["c"], ["d"]),
            helper.make_node("Flatten", ["d"], ["e"], axis=1),
            helper.make_node("Gemm", ["e", "w3"], ["logits"], name="last"),
        ],
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [weights("w1", channels, 1, 3, 3), weights("w2", channels, channels, 3, 3), weights("w3", channels, CLASSES)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
