"""A network of two layers that one can prune, data it is right about, and a study of it on fake devices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgepareto.host.accuracy import predictor
from edgepareto.host.config import DataConfig, DeviceConfig, SearchConfig, StudyConfig
from edgepareto.host.domain import DeviceProgress, StudyNotice
from onnx import TensorProto, helper, numpy_helper

CLASSES = 4


def tiny_network(seed: int = 0) -> onnx.ModelProto:
    """conv 1->12, relu, conv 12->16, relu, mean, gemm 16->4, on 6x6 images."""
    random = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        values = random.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)
        return numpy_helper.from_array(values.astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], name="second"),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], transB=1, name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])],
        [
            weights("w1", 12, 1, 3, 3),
            weights("b1", 12),
            weights("w2", 16, 12, 3, 3),
            weights("b2", 16),
            weights("w3", CLASSES, 16),
            weights("b3", CLASSES),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


@dataclass
class Bench:
    """A folder with model and data, and the events that a study told."""

    config: StudyConfig
    events: list[DeviceProgress | StudyNotice]

    def but(self, *devices: str, **search: object) -> StudyConfig:
        """The configuration with these devices and other search settings."""
        named = tuple(replace(self.config.devices[0], name=name) for name in devices) or self.config.devices
        return replace(self.config, devices=named, search=replace(self.config.search, **search))

    def warnings(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, StudyNotice) and event.is_warning]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    random = np.random.default_rng(5)
    onnx.save(tiny_network(), tmp_path / "tiny.onnx")
    predict = predictor(tmp_path / "tiny.onnx")
    for name, rows in (("calibration", 40), ("validation", 300), ("test", 100)):
        x = random.normal(size=(rows, 1, 6, 6)).astype(np.float32)
        labels = {} if name == "calibration" else {"y": predict({"x": x}).argmax(axis=1)}
        np.savez(tmp_path / f"{name}.npz", x=x, **labels)
    config = StudyConfig(
        folder=tmp_path,
        model=tmp_path / "tiny.onnx",
        study=tmp_path / "study",
        data=DataConfig(
            calibration=str(tmp_path / "calibration.npz"),
            validation=str(tmp_path / "validation.npz"),
            test=str(tmp_path / "test.npz"),
        ),
        devices=(DeviceConfig(name="pi1", address="127.0.0.1:1", step=2),),
        search=SearchConfig(population=6, measurements=18, preset="quick", workers=1, seed=2),
    )
    return Bench(config=config, events=[])
