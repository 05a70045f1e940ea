"""Small nets, one per structure that pruning must carry channels through, with seeded weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Feeds = Mapping[str, NDArray[np.float32]]


class Net:
    """Writes a graph node by node; every method returns the name of the tensor it made."""

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, NDArray[np.generic]] = {}
        self.random = np.random.default_rng(seed)

    def constant(self, value: NDArray[np.generic] | Sequence[int] | float, dtype: str | None = None) -> str:
        name = f"c{len(self.tensors)}"
        array = np.asarray(value)
        self.tensors[name] = array.astype(dtype or (np.int64 if array.dtype.kind == "i" else np.float32))
        return name

    def node(self, op: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: object) -> str:
        made = [f"{op.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, made, name=name or f"{op}{len(self.nodes)}", **attributes))
        return made[0]

    def conv(
        self,
        data: str,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        bias: bool = True,
        group: int = 1,
        stride: int = 1,
    ) -> str:
        fan_in = inputs // group * kernel * kernel
        weight = self.random.normal(size=(outputs, inputs // group, kernel, kernel)) * np.sqrt(2 / fan_in)
        parts = [data, self.constant(weight)]
        if bias:
            parts.append(self.constant(self.random.normal(size=outputs) * 0.1))
        pads, strides = [kernel // 2] * 4, [stride, stride]
        return self.node("Conv", *parts, kernel_shape=[kernel, kernel], pads=pads, strides=strides, group=group)

    def relu(self, data: str) -> str:
        return self.node("Relu", data)

    def gemm(self, data: str, inputs: int, outputs: int) -> str:
        weight = self.random.normal(size=(outputs, inputs)) / np.sqrt(inputs)
        return self.node("Gemm", data, self.constant(weight), self.constant(np.zeros(outputs)), transB=1)

    def batch_norm(self, data: str, channels: int) -> str:
        scale, mean = self.random.uniform(0.5, 1.5, channels), self.random.normal(size=channels) * 0.1
        shift, variance = self.random.normal(size=channels) * 0.1, self.random.uniform(0.5, 1.5, channels)
        parts = [self.constant(value) for value in (scale, shift, mean, variance)]
        return self.node("BatchNormalization", data, *parts)

    def head(self, data: str, channels: int, classes: int = 5) -> str:
        return self.gemm(self.node("Flatten", self.node("GlobalAveragePool", data)), channels, classes)

    def model(
        self,
        output: str,
        shape: Sequence[int | str] = ("batch", 3, 8, 8),
        result: Sequence[int | str] = ("batch", 5),
        more_inputs: Sequence[onnx.ValueInfoProto] = (),
    ) -> onnx.ModelProto:
        for node in self.nodes:
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    names[position] = "logits" if name == output else name
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape), *more_inputs],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, result)],
            [numpy_helper.from_array(value, name) for name, value in self.tensors.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        model.metadata_props.add(key="labels", value="abcde")
        onnx.checker.check_model(model, full_check=True)
        return model


def residual() -> onnx.ModelProto:
    net = Net()
    x = net.relu(net.conv("image", 3, 8))
    y = net.conv(net.relu(net.conv(x, 8, 6)), 6, 8)
    x = net.relu(net.node("Add", y, x))
    y = net.conv(net.relu(net.conv(x, 8, 10, stride=2)), 10, 12)
    x = net.relu(net.node("Add", net.conv(x, 8, 12, 1, stride=2), y))
    return net.model(net.head(x, 12))


def inverted_residual() -> onnx.ModelProto:
    net = Net(seed=1)

    def relu6(data: str) -> str:
        return net.node("Clip", data, net.constant(0.0), net.constant(6.0))

    x = relu6(net.conv("image", 3, 6))
    for stride, width in ((2, 8), (1, 8)):
        inputs = 6 if stride == 2 else 8
        y = relu6(net.conv(x, inputs, 4 * inputs, 1))
        y = relu6(net.conv(y, 4 * inputs, 4 * inputs, group=4 * inputs, stride=stride))
        y = net.conv(y, 4 * inputs, width, 1)
        x = net.node("Add", x, y) if stride == 1 else y
    return net.model(net.head(relu6(net.conv(x, 8, 16, 1)), 16))


def dense_concat() -> onnx.ModelProto:
    """DenseNet: every block reads all that was made before it; and a Concat that meets a plain layer in an Add."""
    net = Net(seed=2)
    a = net.relu(net.conv("image", 3, 6))
    b = net.relu(net.conv(a, 6, 4))
    ab = net.node("Concat", a, b, axis=1)
    c = net.relu(net.conv(ab, 10, 5))
    abc = net.node("Concat", ab, c, axis=1)
    d = net.relu(net.conv(abc, 15, 10, 1))
    return net.model(net.head(net.relu(net.node("Add", d, ab)), 10))


def flattened() -> onnx.ModelProto:
    """VGG: a feature map becomes a vector, by Flatten; biases in an Add behind MatMul."""
    net = Net(seed=3)
    x = net.node("MaxPool", net.relu(net.conv("image", 3, 6)), kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("AveragePool", net.relu(net.conv(x, 6, 8)), kernel_shape=[2, 2], strides=[2, 2])
    x = net.relu(net.gemm(net.node("Flatten", x), 8 * 4, 12))
    weight = net.constant(net.random.normal(size=(12, 7)) / 3)
    x = net.relu(net.node("Add", net.node("MatMul", x, weight), net.constant(np.full(7, 0.1))))
    return net.model(net.gemm(net.node("Dropout", x), 7, 5))


def reshaped() -> onnx.ModelProto:
    """The legacy exporter's view(x.size(0), -1), a baked Reshape target, and channels last behind a Transpose."""
    net = Net(seed=4)
    x = net.relu(net.conv("image", 3, 6, stride=2))
    x = net.relu(net.node("Reshape", x, net.constant([0, 6, 16])))
    x = net.node("Transpose", x, perm=[0, 2, 1])
    x = net.relu(net.node("MatMul", x, net.constant(net.random.normal(size=(6, 7)))))
    batch = net.node("Gather", net.node("Shape", x), net.constant([0]), axis=0)
    x = net.node("Reshape", x, net.node("Concat", batch, net.constant([16 * 7]), axis=0))
    return net.model(net.gemm(x, 16 * 7, 5))


def with_batch_norm() -> onnx.ModelProto:
    """Unfolded BN, PRelu, a scale of shape (C, 1, 1), an Identity, and one tensor used by two layers."""
    net = Net(seed=5)
    x = net.batch_norm(net.conv("image", 3, 6, bias=False), 6)
    x = net.node("PRelu", x, net.constant(net.random.uniform(0.1, 0.3, (6, 1, 1))))
    weight, bias = net.constant(net.random.normal(size=(6, 6, 1, 1))), net.constant(np.zeros(6))
    x = net.node("Identity", net.relu(net.node("Conv", x, weight, bias)))
    x = net.relu(net.node("Conv", x, weight, bias))
    x = net.node("Mul", x, net.constant(net.random.uniform(0.5, 1.5, (6, 1, 1))))
    return net.model(net.head(x, 6))


def squeeze_excite() -> onnx.ModelProto:
    net = Net(seed=6)
    x = net.node("HardSwish", net.conv("image", 3, 8))
    gate = net.node("ReduceMean", x, axes=[2, 3], keepdims=1)
    gate = net.node("HardSigmoid", net.conv(net.relu(net.conv(gate, 8, 4, 1)), 4, 8, 1))
    x = net.node("LeakyRelu", net.conv(net.node("Mul", x, gate), 8, 6))
    x = net.node("Squeeze", net.node("GlobalAveragePool", x), net.constant([2, 3]))
    return net.model(net.gemm(x, 6, 5))


def split_and_sliced() -> onnx.ModelProto:
    net = Net(seed=7)
    x = net.relu(net.conv("image", 3, 10))
    left = net.node("Split", x, net.constant([4, 6]), axis=1, outputs=2)
    right = net.relu(net.conv(left[:-1] + "1", 6, 4))
    y = net.node("Add", left, right)
    z = net.node("Slice", x, net.constant([2]), net.constant([9]), net.constant([1]))
    x = net.node("Concat", y, z, axis=1)
    return net.model(net.head(net.relu(net.conv(x, 11, 6)), 6))


def shuffled() -> onnx.ModelProto:
    """ShuffleNet: grouped convolutions around a shuffle, their stream joined to pooled channels of another width."""
    net = Net(seed=8)
    x = net.relu(net.conv("image", 3, 8))
    y = net.relu(net.conv(x, 8, 16, 1, group=2))
    y = net.node("Reshape", y, net.constant([-1, 2, 8, 8, 8]))
    y = net.node("Reshape", net.node("Transpose", y, perm=[0, 2, 1, 3, 4]), net.constant([-1, 16, 8, 8]))
    y = net.conv(net.conv(y, 16, 16, group=16), 16, 12, 1, group=2)
    x = net.node("Concat", x, y, axis=1)
    x = net.relu(net.node("Add", x, net.conv(x, 20, 20, group=2)))
    return net.model(net.head(net.conv(x, 20, 20, group=4), 20))


def upsampled() -> onnx.ModelProto:
    """U-Net: plain, grouped and depthwise ConvTranspose, Resize, a depthwise multiplier, skips by Concat."""
    net = Net(seed=9)

    def up(data: str, inputs: int, outputs: int, group: int = 1) -> str:
        weight = net.constant(net.random.normal(size=(inputs, outputs // group, 2, 2)) / np.sqrt(inputs))
        bias = net.constant(net.random.normal(size=outputs) * 0.1)
        return net.node("ConvTranspose", data, weight, bias, strides=[2, 2], kernel_shape=[2, 2], group=group)

    a = net.relu(net.conv("image", 3, 6))
    b = net.relu(net.conv(a, 6, 12, group=6, stride=2))
    c = net.relu(net.conv(b, 12, 8, stride=2))
    c = net.relu(up(c, 8, 10))
    c = net.relu(net.conv(net.node("Concat", c, b, axis=1), 22, 8))
    d = net.relu(up(c, 8, 12, group=4))
    e = up(c, 8, 8, group=8)
    f = net.node("Resize", c, "", net.constant([1.0, 1.0, 2.0, 2.0]), mode="nearest")
    x = net.node("Concat", a, d, net.node("Add", e, f), axis=1)
    return net.model(net.head(net.relu(net.conv(x, 26, 6)), 6))


def attention() -> onnx.ModelProto:
    """A transformer's block: query, key and value in one layer, three heads of four, LayerNorm, a hidden layer."""
    net = Net(17, seed=10)

    def dense(data: str, inputs: int, outputs: int) -> str:
        weight = net.constant(net.random.normal(size=(inputs, outputs)) / np.sqrt(inputs))
        return net.node("Add", net.node("MatMul", data, weight), net.constant(net.random.normal(size=outputs) * 0.1))

    def norm(data: str) -> str:
        scale, shift = net.random.uniform(0.5, 1.5, 12), net.random.normal(size=12) * 0.1
        return net.node("LayerNormalization", data, net.constant(scale), net.constant(shift), axis=-1)

    x = net.node("Reshape", net.conv("image", 3, 12, stride=2), net.constant([0, 12, 16]))
    x = net.node("Transpose", x, perm=[0, 2, 1])
    heads = net.node("Reshape", dense(norm(x), 12, 36), net.constant([0, 16, 3, 3, 4]))
    heads = net.node("Transpose", heads, perm=[2, 0, 3, 1, 4])
    query, key, value = (net.node("Gather", heads, net.constant(np.array(i), "int64"), axis=0) for i in range(3))
    scores = net.node("MatMul", query, net.node("Transpose", key, perm=[0, 1, 3, 2]))
    weights = net.node("Softmax", net.node("Div", scores, net.constant(2.0)), axis=-1)
    mixed = net.node("Transpose", net.node("MatMul", weights, value), perm=[0, 2, 1, 3])
    x = net.node("Add", x, dense(net.node("Reshape", mixed, net.constant([0, 16, 12])), 12, 12))
    hidden = net.node("Tanh", dense(norm(x), 12, 10))
    x = net.node("Add", x, dense(hidden, 10, 12))
    return net.model(net.gemm(net.node("ReduceMean", x, axes=[1], keepdims=0), 12, 5))


NETS: dict[str, Callable[[], onnx.ModelProto]] = {
    function.__name__: function
    for function in (
        residual,
        inverted_residual,
        dense_concat,
        flattened,
        reshaped,
        with_batch_norm,
        squeeze_excite,
        split_and_sliced,
        shuffled,
        upsampled,
        attention,
    )
}


def run(model: onnx.ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": images})[0])


@pytest.fixture
def new_net() -> type[Net]:
    return Net


@pytest.fixture
def run_model() -> Callable[[onnx.ModelProto, NDArray[np.float32]], NDArray[np.float32]]:
    return run


@pytest.fixture(params=sorted(NETS))
def model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return NETS[request.param]()


@pytest.fixture
def nets() -> dict[str, Callable[[], onnx.ModelProto]]:
    return NETS


@pytest.fixture(scope="session")
def images() -> NDArray[np.float32]:
    return np.random.default_rng(9).normal(size=(64, 3, 8, 8)).astype(np.float32)
