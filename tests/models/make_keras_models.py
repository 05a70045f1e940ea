"""Makes the *.keras.onnx fixtures beside this file: small seeded nets, written by tf2onnx. Run by hand (KERAS.md).

Every net is checked before it is written: the checker's full pass, and ONNX Runtime against Keras at two batch sizes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums differ in the fourth digit

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
import tf_keras as keras2
from keras import layers
from numpy.typing import NDArray
from tf_keras import layers as layers2

Model = keras.Model | keras2.Model
LARGEST_FILE = 300_000  # bytes
WORDS = 50  # of the embedding's vocabulary


def cnn() -> Model:
    """Padding written as layers, strides with Keras' uneven "same", BN between a convolution and its ReLU."""
    x = image = keras.Input((16, 16, 3), name="image")
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(8, 3, padding="valid", activation="relu")(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    x = layers.Conv2D(16, 3, padding="same")(x)
    x = layers.BatchNormalization()(layers.ReLU()(x))  # cannot be folded into the convolution before it
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(20, 1, activation="relu")(x))
    return keras.Model(image, layers.Dense(5, name="logits")(x))


def cnn_keras2() -> Model:
    """Keras 2 says the same with other operators: BatchNormalization for Mul and Add, Resize for Tile and Reshape."""
    image = keras2.Input((16, 16, 3), name="image")
    x = layers2.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers2.BatchNormalization()(layers2.ReLU()(layers2.BatchNormalization()(x)))
    x = layers2.DepthwiseConv2D(3, strides=2, activation=tf.nn.relu6)(layers2.ZeroPadding2D(((0, 1), (0, 1)))(x))
    x = layers2.BatchNormalization()(layers2.LeakyReLU(0.1)(layers2.Conv2D(16, 1)(x)))
    x = layers2.PReLU(shared_axes=(1, 2))(layers2.Conv2D(12, 3, padding="same")(layers2.UpSampling2D(2)(x)))
    x = layers2.GlobalMaxPooling2D()(x)
    return keras2.Model(image, layers2.Dense(5, name="logits")(x))


def mobilenet() -> Model:
    """MobileNetV2's blocks, and the head of Keras' MobileNet: pooling that keeps its axes, then Reshape."""

    def normed(data: keras.KerasTensor) -> keras.KerasTensor:
        return layers.ReLU(6.0)(layers.BatchNormalization()(data))

    image = keras.Input((16, 16, 3), name="image")
    x = normed(layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image))
    x = normed(layers.SeparableConv2D(8, 3, padding="same", use_bias=False)(x))
    for stride, width in ((2, 12), (1, 12)):
        y = normed(layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x))
        if stride == 2:
            y = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
        y = layers.DepthwiseConv2D(3, strides=stride, padding="valid" if stride == 2 else "same", use_bias=False)(y)
        y = layers.BatchNormalization()(layers.Conv2D(width, 1, use_bias=False)(normed(y)))
        x = layers.Add()([x, y]) if stride == 1 else y
    x = normed(layers.Conv2D(24, 1, use_bias=False)(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Reshape((24,))(x)
    return keras.Model(image, layers.Dense(5, name="logits")(x))


def multiplier() -> Model:
    """A depthwise convolution that makes two channels of each, and a convolution as the head."""
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(12, 1, activation="relu")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return keras.Model(image, layers.Reshape((5,), name="logits")(layers.Conv2D(5, 1)(x)))


def resnet() -> Model:
    """Keras' ResNet: padding layers before the stem's convolution and pool, bottlenecks, projections."""

    def normed(data: keras.KerasTensor) -> keras.KerasTensor:
        return layers.BatchNormalization(epsilon=1.001e-5)(data)

    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 7, strides=2)(layers.ZeroPadding2D(3)(image))
    x = layers.ZeroPadding2D(1)(layers.Activation("relu")(normed(x)))
    x = layers.MaxPooling2D(3, strides=1)(x)
    for width, stride, project in ((8, 1, True), (8, 1, False), (12, 2, True)):
        shortcut = normed(layers.Conv2D(2 * width, 1, strides=stride)(x)) if project else x
        y = layers.Activation("relu")(normed(layers.Conv2D(width, 1, strides=stride)(x)))
        y = layers.Activation("relu")(normed(layers.Conv2D(width, 3, padding="same")(y)))
        y = normed(layers.Conv2D(2 * width, 1)(y))
        x = layers.Activation("relu")(layers.Add()([shortcut, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(5, name="logits")(x))


def flatten() -> Model:
    """A feature map becomes a vector in the order height, width, channel: the channel turns fastest."""
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(10, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(5, name="logits")(x))


def lstm() -> Model:
    signal = keras.Input((12, 6), name="signal")
    x = layers.LSTM(16, return_sequences=True)(signal)
    x = layers.Dense(12, activation="relu")(layers.LSTM(14)(x))
    return keras.Model(signal, layers.Dense(5, name="logits")(x))


def gru() -> Model:
    """In both directions: first all steps joined, then the last ones. Keras 2: tf2onnx knows its GRU, not Keras 3's."""
    signal = keras2.Input((12, 6), name="signal")
    x = layers2.Bidirectional(layers2.GRU(12, return_sequences=True))(signal)
    x = layers2.Dense(12, activation="relu")(layers2.Bidirectional(layers2.GRU(10))(x))
    return keras2.Model(signal, layers2.Dense(5, name="logits")(x))


def gru_loop() -> Model:
    """Keras 3's GRU becomes a Loop: control flow between layers that can be pruned."""
    signal = keras.Input((12, 6), name="signal")
    x = layers.Conv1D(10, 3, padding="same", activation="relu")(signal)
    x = layers.Dense(16, activation="relu")(layers.GRU(12)(layers.Conv1D(8, 3, padding="same")(x)))
    return keras.Model(signal, layers.Dense(5, name="logits")(x))


def mlp() -> Model:
    features = keras.Input((20,), name="features")
    x = layers.BatchNormalization()(layers.Dense(24, activation="relu")(features))
    x = layers.Dropout(0.5)(layers.Dense(16, activation="elu")(x))
    return keras.Model(features, layers.Dense(5, name="logits")(x))


def unet() -> Model:
    """Three scales down and up again: by a transposed convolution, by repeating pixels, by interpolation."""

    def double(data: keras.KerasTensor, width: int) -> keras.KerasTensor:
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(data)
        return layers.Conv2D(width, 3, padding="same", activation="relu")(x)

    image = keras.Input((16, 16, 3), name="image")
    high = double(image, 6)
    middle = double(layers.MaxPooling2D(2)(high), 8)
    low = double(layers.MaxPooling2D(2)(middle), 10)
    x = double(layers.MaxPooling2D(2)(low), 12)
    x = layers.Conv2DTranspose(8, 2, strides=2, padding="same")(x)
    x = double(layers.Concatenate()([low, x]), 10)
    x = layers.UpSampling2D(2, interpolation="nearest")(x)
    x = double(layers.Concatenate()([middle, x]), 8)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = double(layers.Concatenate()([high, x]), 6)
    return keras.Model(image, layers.Conv2D(2, 1, name="mask")(x))


def attention() -> Model:
    """A transformer block behind a patch embedding: MultiHeadAttention's kernels have one axis per head."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Reshape((16, 24))(layers.Conv2D(24, 4, strides=4)(image))
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(num_heads=4, key_dim=6)(y, y)])
    y = layers.Dense(32)(layers.LayerNormalization(epsilon=1e-6)(x))
    y = layers.Activation(lambda data: keras.activations.gelu(data, approximate=True))(y)  # tf2onnx knows no Erfc
    x = layers.Add()([x, layers.Dense(24)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(image, layers.Dense(5, name="logits")(x))


def embedding() -> Model:
    words = keras.Input((10,), dtype="int32", name="words")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(WORDS, 16)(words))
    x = layers.Dense(12, activation="relu")(x)
    return keras.Model(words, layers.Dense(5, name="logits")(x))


class GroupedConv2D(layers.Conv2D):
    """Keras wraps a grouped convolution in a call of XLA, which TensorFlow's CPU needs and tf2onnx does not know."""

    def convolution_op(self, inputs: tf.Tensor, kernel: keras.Variable) -> tf.Tensor:
        if tf.executing_eagerly():
            return super().convolution_op(inputs, kernel)
        return tf.nn.conv2d(inputs, tf.convert_to_tensor(kernel), self.strides, self.padding.upper())


def grouped() -> Model:
    """ResNeXt's block: 1x1, 3x3 in four groups, 1x1, and the sum with what came in."""
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    y = layers.Conv2D(16, 1, activation="relu")(x)
    y = GroupedConv2D(16, 3, padding="same", groups=4, activation="relu")(y)
    x = layers.ReLU()(layers.Add()([x, layers.Conv2D(16, 1)(y)]))
    x = GroupedConv2D(24, 3, strides=2, padding="same", groups=4, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(5, name="logits")(x))


def squeeze_excite() -> Model:
    """One gate of Dense layers behind a Reshape, one of convolutions; swish and the hard functions of MobileNetV3."""
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(12, 3, padding="same", activation="swish")(image)
    gate = layers.Reshape((1, 1, 12))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Dense(12, activation="sigmoid")(layers.Dense(6, activation="relu")(gate))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="hard_swish")(layers.Multiply()([x, gate]))
    gate = layers.Conv2D(8, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    gate = layers.Conv2D(16, 1, activation="hard_sigmoid")(gate)
    x = layers.GlobalAveragePooling2D()(layers.Multiply()([x, gate]))
    return keras.Model(image, layers.Dense(5, name="logits")(x))


NETS: dict[Callable[[], Model], int] = {  # with the opset of its file
    cnn: 15, cnn_keras2: 15, mobilenet: 17, multiplier: 15, resnet: 13, flatten: 15, lstm: 15, gru: 17, gru_loop: 15,
    mlp: 15, unet: 15, attention: 17, embedding: 15, grouped: 17, squeeze_excite: 17,
}  # fmt: skip


def redraw(model: Model, random: np.random.Generator) -> None:
    """Weights of the usual size, and biases, BN statistics and scales that no bug could mistake for 0 or 1."""
    for variable in model.variables:
        name, shape = variable.name.split("/")[-1].split(":")[0], tuple(variable.shape)
        if name in ("gamma", "moving_variance"):
            value = random.uniform(0.5, 1.5, shape)
        elif name in ("beta", "moving_mean", "bias", "alpha"):
            value = random.normal(size=shape) * 0.2
        elif "kernel" in name or name == "embeddings":
            value = random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
        else:
            continue  # the seed of a Dropout
        variable.assign(value.astype(np.float32))


def samples(model: Model, count: int, random: np.random.Generator) -> NDArray[np.generic]:
    (entry,) = model.inputs
    shape = (count, *entry.shape[1:])
    if tf.as_dtype(entry.dtype) == tf.int32:
        return random.integers(0, WORDS, shape, dtype=np.int32)
    return random.normal(size=shape).astype(np.float32)


def convert(model: Model, opset: int) -> onnx.ModelProto:
    """tf2onnx through a function, which gives the file's inputs and outputs the names that they have in Keras."""
    (entry,) = model.inputs
    signature = [tf.TensorSpec((None, *entry.shape[1:]), entry.dtype, name=entry.name)]
    written, _ = tf2onnx.convert.from_function(
        tf.function(lambda data: {model.layers[-1].name: model(data, training=False)}),
        input_signature=signature,
        opset=opset,
    )
    version = (keras if isinstance(model, keras.Model) else keras2).__version__
    written.metadata_props.add(key="source", value=f"keras {version} tf2onnx {tf2onnx.__version__}")
    return written


def check(written: onnx.ModelProto, model: Model, random: np.random.Generator) -> float:
    """Largest difference from Keras, relative to the largest output. Raises where it is over 1e-4."""
    onnx.checker.check_model(written, full_check=True)
    session = onnxruntime.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    worst = 0.0
    for count in (1, 5):
        data = samples(model, count, random)
        wanted = np.asarray(model(data, training=False))
        (made,) = session.run(None, {session.get_inputs()[0].name: data})
        worst = max(worst, float(np.abs(made - wanted).max() / np.abs(wanted).max()))
    if not worst < 1e-4:
        raise AssertionError(f"{model.name}: ONNX Runtime differs from Keras by {worst:.1e}, at most 1e-4 is allowed")
    return worst


def main() -> None:
    for number, (net, opset) in enumerate(NETS.items()):
        keras.backend.clear_session()
        model = net()
        random = np.random.default_rng(number)
        redraw(model, random)
        written = convert(model, opset)
        worst = check(written, model, random)
        data = written.SerializeToString()
        if len(data) > LARGEST_FILE:
            raise AssertionError(f"{net.__name__}: {len(data)} bytes, at most {LARGEST_FILE} are allowed")
        Path(__file__).with_name(f"{net.__name__}.keras.onnx").write_bytes(data)
        ops = sorted({node.op_type for node in written.graph.node})
        sys.stdout.write(f"{net.__name__}: {len(data)} bytes, off by {worst:.1e}, {' '.join(ops)}\n")


if __name__ == "__main__":
    main()
