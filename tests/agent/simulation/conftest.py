from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.export.tflite import to_tflite
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="session")
def small_cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x (n, 3, 16, 16) -> 3x3 to 8 channels, BN, Relu -> depthwise 3x3 /2, Clip -> 1x1 to 20, added to itself
    -> grouped 3x3 in 4 -> max pool 2 -> 5x5 to 6 -> mean -> Gemm to 10.
    """
    randomness = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(randomness.standard_normal(shape).astype(np.float32) / 10, name)

    def conv(source: str, name: str, **attributes: int | list[int]) -> onnx.NodeProto:
        return helper.make_node("Conv", [source, f"w_{name}"], [name], **attributes)

    node = helper.make_node
    nodes = [
        conv("x", "stem", pads=[1] * 4),
        node("BatchNormalization", ["stem", "scale", "shift", "mean", "variance"], ["normed"]),
        node("Relu", ["normed"], ["active"]),
        conv("active", "dw", pads=[1] * 4, group=8, strides=[2, 2]),
        node("Clip", ["dw", "zero", "six"], ["clipped"]),
        conv("clipped", "pw"),
        node("Add", ["pw", "pw"], ["sum"]),
        conv("sum", "grouped", pads=[1] * 4, group=4),
        node("MaxPool", ["grouped"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        conv("pooled", "wide", pads=[2] * 4),
        node("GlobalAveragePool", ["wide"], ["means"]),
        node("Flatten", ["means"], ["flat"]),
        node("Gemm", ["flat", "w_fc", "b_fc"], ["y"], transB=1),
    ]
    shapes = {
        "stem": (8, 3, 3, 3),
        "dw": (8, 1, 3, 3),
        "pw": (20, 8, 1, 1),
        "grouped": (20, 5, 3, 3),
        "wide": (6, 20, 5, 5),
    }
    initializers = [
        *(weights(f"w_{name}", *shape) for name, shape in shapes.items()),
        *(weights(name, 8) for name in ("scale", "shift", "mean")),
        numpy_helper.from_array(np.ones(8, np.float32), "variance"),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(6), "six"),
        weights("w_fc", 10, 6),
        weights("b_fc", 10),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(nodes, "small", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def small_lite_cnn(small_cnn: Path) -> Path:
    """The same in LiteRT, x (1, 16, 16, 3)."""
    return written_lite(small_cnn, half=False)


@pytest.fixture(scope="session")
def small_half_cnn(small_cnn: Path) -> Path:
    """And with weights of 16 bits."""
    return written_lite(small_cnn, half=True)


def written_lite(model: Path, *, half: bool) -> Path:
    fixed = onnx.load(model)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    path = model.with_name(f"small{'.half' if half else ''}.tflite")
    path.write_bytes(to_tflite(fixed, half=half).content)
    return path
