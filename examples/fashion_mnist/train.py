#!/usr/bin/env python3
"""Train the two Fashion-MNIST example models and write every file of this folder.

The script reads the full data set (Debian package ``dataset-fashion-mnist``),
trains a small ResNet and a small MobileNetV2-like network with PyTorch, exports
both to ONNX and saves the calibration, validation and test images next to them.

It needs ``numpy``, ``torch``, ``onnx`` and ``onnxruntime``. EdgePareto itself
needs no PyTorch: this script only serves to make the files again.

    python train.py                       # both models, side by side, one core each
    python train.py --only resnet --epochs 12 --output longer
"""

from __future__ import annotations

import argparse
import gzip
import io
import multiprocessing
import time
from collections import OrderedDict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10
IMAGE_SIDE = 28
PIXEL_MEAN, PIXEL_STD = 0.286, 0.353

# The splits never change, whatever --seed says, so that models trained with
# different seeds can be compared on the same images.
SPLIT_SEED = 2024
VALIDATION_IMAGES = 5_000
CALIBRATION_IMAGES = 1_024
TEST_IMAGES = 5_000

# Chosen so that the two trainings, side by side, end at about the same time.
EPOCHS = {"resnet": 14, "mobilenet": 10}
BATCH_SIZE = 128
PEAK_LEARNING_RATE = 6e-3
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.05
SHIFT_PIXELS = 2

OPSET = 17
DEFAULT_DATA = Path("/usr/share/datasets/fashion-mnist")


# --------------------------------------------------------------------------- data


@dataclass(frozen=True)
class Split:
    """Images ``x``, uint8 (n, 1, 28, 28), with their labels ``y``, int64 (n,)."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: np.ndarray) -> Split:
        """Return the images and labels at ``indices``, in that order."""
        return Split(self.x[indices], self.y[indices])


@dataclass(frozen=True)
class Dataset:
    """The parts of Fashion-MNIST that the example uses.

    ``train`` and ``validation`` share no image; ``calibration`` is a part of
    ``train``, and ``test`` is a part of the official ``full_test``.
    """

    train: Split
    validation: Split
    calibration: Split
    full_test: Split
    test: Split


def read_idx(path: Path) -> np.ndarray:
    """Read a gzip-compressed IDX file of unsigned bytes."""
    raw = gzip.decompress(path.read_bytes())
    zeros, element_type, dimensions = raw[:2], raw[2], raw[3]
    if zeros != b"\0\0" or element_type != 0x08:
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    header_end = 4 + 4 * dimensions
    shape = np.frombuffer(raw[4:header_end], dtype=">u4").astype(int)
    return np.frombuffer(raw[header_end:], dtype=np.uint8).reshape(shape)


def read_split(folder: Path, prefix: str) -> Split:
    """Read one official half of the data set; ``prefix`` is ``train`` or ``t10k``."""
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    return Split(images[:, np.newaxis], labels.astype(np.int64))


def load_dataset(folder: Path) -> Dataset:
    """Read the data set and cut it into its fixed parts."""
    official_train = read_split(folder, "train")
    full_test = read_split(folder, "t10k")
    rng = np.random.default_rng(SPLIT_SEED)
    order = rng.permutation(len(official_train))
    validation = official_train.take(order[:VALIDATION_IMAGES])
    train = official_train.take(order[VALIDATION_IMAGES:])
    calibration = train.take(rng.choice(len(train), CALIBRATION_IMAGES, replace=False))
    test = full_test.take(rng.choice(len(full_test), TEST_IMAGES, replace=False))
    return Dataset(train, validation, calibration, full_test, test)


def save_data_files(dataset: Dataset, folder: Path) -> None:
    """Write the image files that EdgePareto reads (uint8 pixels, int64 labels)."""
    np.savez_compressed(folder / "calibration.npz", x=dataset.calibration.x)
    np.savez_compressed(folder / "validation.npz", x=dataset.validation.x, y=dataset.validation.y)
    np.savez_compressed(folder / "test.npz", x=dataset.test.x, y=dataset.test.y)


# ------------------------------------------------------------------------- models


class Normalize(nn.Module):
    """Shift and scale pixels in [0, 1] to zero mean and unit deviation."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - PIXEL_MEAN) / PIXEL_STD


class ConvBN(nn.Module):
    """A padded convolution without bias, then batch normalisation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class BasicBlock(nn.Module):
    """ResNet block: two 3x3 convolutions and a shortcut.

    The shortcut is a 1x1 convolution where the block changes the shape.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(in_channels, out_channels, kernel=3, stride=stride)
        self.conv2 = ConvBN(out_channels, out_channels, kernel=3)
        self.relu = nn.ReLU()
        same_shape = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same_shape else ConvBN(in_channels, out_channels, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv2(self.relu(self.conv1(x)))
        return self.relu(residual + self.shortcut(x))


class InvertedResidual(nn.Module):
    """MobileNetV2 block: 1x1 expansion, 3x3 depthwise, linear 1x1 projection."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = ConvBN(in_channels, hidden, kernel=1)
        self.depthwise = ConvBN(hidden, hidden, kernel=3, stride=stride, groups=hidden)
        self.project = ConvBN(hidden, out_channels, kernel=1)
        self.relu6 = nn.ReLU6()
        self.same_shape = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu6(self.depthwise(self.relu6(self.expand(x))))
        residual = self.project(hidden)
        return x + residual if self.same_shape else residual


def build_resnet() -> nn.Sequential:
    """Return the ResNet: 3x3 stem and max pooling, four basic blocks, about 215k parameters."""
    return nn.Sequential(
        OrderedDict(
            normalize=Normalize(),
            stem=ConvBN(1, 24, kernel=3),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
            block1=BasicBlock(24, 24, stride=1),
            block2=BasicBlock(24, 48, stride=2),
            block3=BasicBlock(48, 48, stride=1),
            block4=BasicBlock(48, 96, stride=2),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(96, CLASSES),
        )
    )


def build_mobilenet() -> nn.Sequential:
    """Return the MobileNetV2-like network, about 73k parameters."""
    return nn.Sequential(
        OrderedDict(
            normalize=Normalize(),
            stem=ConvBN(1, 16, kernel=3),
            stem_relu6=nn.ReLU6(),
            block1=InvertedResidual(16, 24, stride=2, expansion=3),
            block2=InvertedResidual(24, 24, stride=1, expansion=3),
            block3=InvertedResidual(24, 40, stride=2, expansion=4),
            block4=InvertedResidual(40, 40, stride=1, expansion=4),
            block5=InvertedResidual(40, 40, stride=1, expansion=4),
            block6=InvertedResidual(40, 64, stride=1, expansion=4),
            head=ConvBN(64, 128, kernel=1),
            head_relu6=nn.ReLU6(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(128, CLASSES),
        )
    )


BUILDERS = {"resnet": build_resnet, "mobilenet": build_mobilenet}


# ----------------------------------------------------------------------- training


def augment(images: Tensor) -> Tensor:
    """Shift the whole batch by up to two pixels and mirror half of its images."""
    padded = functional.pad(images, [SHIFT_PIXELS] * 4)
    top, left = torch.randint(2 * SHIFT_PIXELS + 1, (2,)).tolist()
    shifted = padded[:, :, top : top + IMAGE_SIDE, left : left + IMAGE_SIDE]
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, shifted.flip(-1), shifted)


def train(name: str, data: Split, epochs: int, seed: int) -> nn.Module:
    """Train the model called ``name`` on ``data`` for a fixed number of epochs."""
    torch.manual_seed(seed)
    model = BUILDERS[name]().to(memory_format=torch.channels_last)
    images = torch.from_numpy(data.x)
    labels = torch.from_numpy(data.y)
    steps_per_epoch = len(data) // BATCH_SIZE
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, epochs=epochs, steps_per_epoch=steps_per_epoch
    )
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        total_loss = 0.0
        order = torch.randperm(len(data))[: steps_per_epoch * BATCH_SIZE]
        for batch in order.split(BATCH_SIZE):
            logits = model(augment(images[batch].float() / 255))
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total_loss += loss.item()
        seconds = time.perf_counter() - start
        print(
            f"{name}: epoch {epoch} of {epochs}, loss {total_loss / steps_per_epoch:.4f}, {seconds:.0f} s",
            flush=True,
        )
    return model.eval()


# ------------------------------------------------------------------------- export


def tidy(model: onnx.ModelProto) -> None:
    """Turn constant nodes into initializers and drop the exporter's source traces."""
    graph = model.graph
    constants = [node for node in graph.node if node.op_type == "Constant"]
    for node in constants:
        tensor = graph.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        graph.node.remove(node)
    graph.doc_string = ""
    for node in graph.node:
        node.doc_string = ""


def export(model: nn.Module, path: Path) -> None:
    """Write ``model`` as one checked ONNX file with a free batch size.

    The TorchScript exporter (``dynamo=False``) is used on purpose: it folds the
    batch normalisation and keeps GlobalAveragePool and Flatten as single nodes,
    which the newer exporter writes as ReduceMean and Reshape.
    """
    buffer = io.BytesIO()
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, IMAGE_SIDE, IMAGE_SIDE),),
        buffer,
        input_names=["x"],
        output_names=["logits"],
        dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx_model = onnx.load_from_string(buffer.getvalue())
    tidy(onnx_model)
    onnx.checker.check_model(onnx_model, full_check=True)
    onnx.save(onnx_model, path)


def train_and_export(name: str, data: Split, epochs: int, seed: int, path: Path) -> None:
    """Train one model on one core and write it to ``path``."""
    torch.set_num_threads(1)
    export(train(name, data, epochs, seed), path)


def measure_accuracy(path: Path, data: Split) -> float:
    """Return the accuracy of an ONNX file on ``data``, run by ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    correct = 0
    for start in range(0, len(data), 500):
        batch = slice(start, start + 500)
        pixels = data.x[batch].astype(np.float32) / 255
        (logits,) = session.run(["logits"], {"x": pixels})
        correct += int((logits.argmax(axis=1) == data.y[batch]).sum())
    return correct / len(data)


# --------------------------------------------------------------------------- main


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DATA,
        metavar="DIR",
        help="folder with the four *-ubyte.gz files (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="passes over the training images (default: "
        + ", ".join(f"{count} for {name}" for name, count in EPOCHS.items())
        + ")",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the training; the data splits do not depend on it (default: %(default)s)",
    )
    parser.add_argument("--only", choices=list(BUILDERS), help="train this model and leave the other")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent,
        metavar="DIR",
        help="where to write the files (default: the folder of this script)",
    )
    return parser.parse_args()


def main() -> None:
    """Write the data files, train and export the models, print their accuracies."""
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    dataset = load_dataset(arguments.data)
    save_data_files(dataset, arguments.output)

    names = [arguments.only] if arguments.only else list(BUILDERS)
    paths = {name: arguments.output / f"{name}.onnx" for name in names}
    with ProcessPoolExecutor(max_workers=len(names), mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [
            pool.submit(
                train_and_export,
                name,
                dataset.train,
                arguments.epochs or EPOCHS[name],
                arguments.seed,
                path,
            )
            for name, path in paths.items()
        ]
        for job in jobs:
            job.result()

    for name, path in paths.items():
        print(f"{name}: {path.stat().st_size:,} bytes, accuracy with ONNX Runtime:")
        for label, data in (
            ("validation.npz", dataset.validation),
            ("test.npz", dataset.test),
            ("full official test set", dataset.full_test),
        ):
            accuracy = measure_accuracy(path, data)
            print(f"  {label}: {accuracy:.4f} ({len(data):,} images)")


if __name__ == "__main__":
    main()
